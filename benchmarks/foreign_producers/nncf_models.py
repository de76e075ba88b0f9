"""NNCF's quantizers for ONNX files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nncf
import onnx
from shared import IMAGES, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def quantized(name: str, path: Path, **options) -> None:
    """A file, after training."""
    data = nncf.Dataset([IMAGES[place : place + 1] for place in range(0, 1000, 5)], lambda image: {"images": image})
    onnx.save(nncf.quantize(onnx.load(source(name)), data, subset_size=200, **options), path)


def light(name: str, path: Path, **options) -> None:
    """Its weights alone."""
    onnx.save(nncf.compress_weights(onnx.load(source(name)), **options), path)


FILES = {
    "cnn": partial(quantized, CNN),
    "cnn_mixed": partial(quantized, CNN, preset=nncf.QuantizationPreset.MIXED),
    "vit": partial(quantized, VIT, model_type=nncf.ModelType.TRANSFORMER),
    "weights_int8": partial(light, "torch_dynamo/vit"),
}

produce(FILES)
