"""Brevitas' quantization-aware networks, as QCDQ and as QONNX."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import brevitas.nn as qnn
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8Bias,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    ShiftedUint8ActPerTensorFloat,
    Uint8ActPerTensorFixedPoint,
)
from networks import fit
from shared import produce
from torch import nn


def network(bits: int = 8, weight=None, activation=None, inputs=Int8ActPerTensorFloat, bias=None) -> nn.Module:
    """Convolutions whose weights and activations are quantized while they are trained."""
    weights = {"weight_bit_width": bits} | ({} if weight is None else {"weight_quant": weight})
    weights |= {} if bias is None else {"bias_quant": bias}
    acts = {"bit_width": bits} | ({} if activation is None else {"act_quant": activation})
    return nn.Sequential(
        *([] if inputs is None else [qnn.QuantIdentity(act_quant=inputs, return_quant_tensor=True)]),
        qnn.QuantConv2d(1, 16, 3, padding=1, **weights),
        qnn.QuantReLU(return_quant_tensor=True, **acts),
        qnn.QuantConv2d(16, 32, 3, stride=2, padding=1, **weights),
        qnn.QuantReLU(return_quant_tensor=True, **acts),
        nn.Flatten(),
        qnn.QuantLinear(512, 10, bias=True, **weights),
    )


def weights_only() -> nn.Module:
    """Convolutions of which the weights alone are quantized."""
    layers = [qnn.QuantConv2d(1, 24, 3, stride=2, weight_bit_width=4), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, qnn.QuantLinear(216, 10, bias=True, weight_bit_width=4))


def layer(make, path: Path, qonnx: bool = False, **options) -> None:
    """A network of its own kind."""
    torch.manual_seed(0)
    trained = fit(make(), epochs=4)
    export = export_qonnx if qonnx else export_onnx_qcdq
    axes = {"images": {0: "N"}, "logits": {0: "N"}}
    names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_axes": axes, "dynamo": False}
    export(trained, args=torch.zeros(2, 1, 8, 8), export_path=str(path), opset_version=17, **names, **options)


FIXED = {"weight": Int8WeightPerTensorFixedPoint, "activation": Uint8ActPerTensorFixedPoint}

FILES = {
    "int8": partial(layer, network),
    "int8_channels": partial(layer, partial(network, weight=Int8WeightPerChannelFloat)),
    "int8_shifted": partial(layer, partial(network, inputs=ShiftedUint8ActPerTensorFloat)),
    "int8_bias": partial(layer, partial(network, bias=Int8Bias)),
    "int4": partial(layer, partial(network, bits=4)),
    "weights_int4": partial(layer, weights_only),
    "qonnx": partial(layer, network, qonnx=True),
}

produce(FILES)
