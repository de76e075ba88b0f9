"""NVIDIA ModelOpt's quantizers for ONNX files and torch networks."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import torch
from networks import cnn, export, trained
from shared import IMAGES, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def quantized(name: str, path: Path, mode: str, **options) -> None:
    """A file, after training."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(source(name)),
        quantize_mode=mode,
        calibration_data={"images": IMAGES[:256]},
        calibration_eps=["cpu"],
        output_path=str(path),
        **options,
    )


def from_torch(make, path: Path, setting: str = "INT8_DEFAULT_CFG") -> None:
    """A torch network, exported with its quantizers."""
    import modelopt.torch.quantization as mtq

    images = torch.from_numpy(IMAGES[:256])
    network = mtq.quantize(copy.deepcopy(trained(make)), getattr(mtq, setting), lambda model: model(images))
    export(network, path)


def half(name: str, path: Path) -> None:
    """ModelOpt's conversion to float16, where that is safe."""
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    onnx.save(convert_to_mixed_precision(str(source(name)), low_precision_type="fp16", keep_io_types=True), path)


FILES = {
    "cnn_int8": partial(quantized, CNN, mode="int8", high_precision_dtype="fp32"),
    "cnn_int8_half": partial(quantized, CNN, mode="int8", high_precision_dtype="fp16"),
    "vit_int8": partial(quantized, VIT, mode="int8", high_precision_dtype="fp32"),
    "cnn_fp8": partial(quantized, CNN, mode="fp8", high_precision_dtype="fp32"),
    "vit_int4": partial(
        quantized, VIT, mode="int4", calibration_method="rtn_dq", block_size=32, high_precision_dtype="fp32"
    ),
    "torch_cnn": partial(from_torch, cnn),
    "cnn_autocast": partial(half, CNN),
}

produce(FILES)
