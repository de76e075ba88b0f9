"""NNCF's quantizers for ONNX files and torch networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nncf
import onnx
import torch
from networks import cnn, export, trained
from shared import IMAGES, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def quantized(name: str, path: Path, **options) -> None:
    """A file, after training."""
    data = nncf.Dataset([IMAGES[place : place + 1] for place in range(0, 1000, 5)], lambda image: {"images": image})
    onnx.save(nncf.quantize(onnx.load(source(name)), data, subset_size=200, **options), path)


def light(name: str, path: Path, **options) -> None:
    """Its weights alone."""
    onnx.save(nncf.compress_weights(onnx.load(source(name)), **options), path)


def from_torch(path: Path) -> None:
    """A torch network, exported with its fake quantizers."""
    data = nncf.Dataset([torch.from_numpy(IMAGES[place : place + 1]) for place in range(0, 1000, 5)])
    network = nncf.quantize(trained(cnn), data, subset_size=200)
    export(nncf.strip(network), path)


FILES = {
    "cnn": partial(quantized, CNN),
    "cnn_mixed": partial(quantized, CNN, preset=nncf.QuantizationPreset.MIXED),
    "vit": partial(quantized, VIT, model_type=nncf.ModelType.TRANSFORMER),
    "weights_int8": partial(light, "torch_dynamo/vit"),
    "torch": from_torch,
}

produce(FILES)
