"""AMD Quark's quantizer for ONNX files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from quark.onnx import ModelQuantizer
from quark.onnx.quantization.config import Config, get_default_config
from shared import Calibration, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def quantized(name: str, path: Path, setting: str) -> None:
    """A file, after training, by one of Quark's settings."""
    config = Config(global_quant_config=get_default_config(setting))
    ModelQuantizer(config).quantize_model(str(source(name)), str(path), Calibration())


FILES = {
    "cnn_xint8": partial(quantized, CNN, setting="XINT8"),
    "cnn_a8w8": partial(quantized, CNN, setting="A8W8"),
    "cnn_a16w8": partial(quantized, CNN, setting="A16W8"),
    "vit_u8s8": partial(quantized, VIT, setting="U8S8_AAWS"),
    "cnn_bf16": partial(quantized, CNN, setting="BF16"),
    "cnn_bfp16": partial(quantized, CNN, setting="BFP16"),
}

produce(FILES)
