"""AIMET's quantizer for ONNX files, exported as Q/DQ."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import aimet_onnx
import onnx
from aimet_onnx import QuantizationSimModel
from shared import Calibration, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def quantized(name: str, path: Path, **types) -> None:
    """A file, calibrated on training images."""
    simulated = QuantizationSimModel(onnx.load(source(name)), providers=["CPUExecutionProvider"], **types)
    simulated.compute_encodings(list(Calibration()))
    onnx.save(simulated.to_onnx_qdq(), path)


FILES = {
    "cnn": partial(quantized, CNN),
    "cnn_a16w8": partial(quantized, CNN, param_type=aimet_onnx.int8, activation_type=aimet_onnx.int16),
    "cnn_w4": partial(quantized, CNN, param_type=aimet_onnx.int4),
}

produce(FILES)
