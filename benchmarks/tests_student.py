"""The student that lies with the tests, as engines."""

from __future__ import annotations

from pathlib import Path

from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.targets.base import targets

STUDENT = Classifier("cnn8_small", Path(__file__).parents[1] / "tests" / "data" / "student.safetensors", (1, 8, 8), 10)


def tests_student(folder: Path, *, floating: bool) -> list[Path]:
    """Export it for digits: quantized as a build does it and, if wanted, in float."""
    source, quantized = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(STUDENT.load(), STUDENT.image_shape, source, opset=18)
    images = calibration_split(load_dataset(DataConfig(dataset="digits")).train, CalibrationConfig()).images
    quantize_onnx(source, quantized, targets["onnxruntime"].scheme, images)
    return [quantized, source] if floating else [quantized]
