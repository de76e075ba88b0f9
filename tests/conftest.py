"""What many tests start from: a trained student, its float and quantized ONNX files, its engines."""

from __future__ import annotations

import os

# Test processes run side by side; threads would fight over the cores. Before torch is imported, which reads it then.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.base import EngineFile, targets

pytest_plugins = ["tests.cpu_seconds"]

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Test processes run side by side; threads would fight over the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(DataConfig(dataset="digits"))


@pytest.fixture(scope="session")
def threat() -> ThreatModel:
    return ThreatModel(norm="Linf", eps=0.1)


@pytest.fixture(scope="session")
def student() -> Classifier:
    return Classifier("cnn8_small", DATA / "student.safetensors", (1, 8, 8), 10)


@pytest.fixture(scope="session")
def float_onnx(student: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    export_onnx(student.load(), student.image_shape, path, opset=18)
    return path


@pytest.fixture(scope="session")
def int8_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student in ONNX Runtime's own scheme, as a build ships it."""
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    images = calibration_split(digits.train, CalibrationConfig()).images
    quantize_onnx(float_onnx, path, targets["onnxruntime"].scheme, images)
    return path


@pytest.fixture(scope="session")
def swallowed_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student as foreign tools quantize it: the ReLUs live in the quantizers' lower clips."""
    path = tmp_path_factory.mktemp("swallowed") / "model.onnx"
    images = calibration_split(digits.train, CalibrationConfig()).images
    quantize_onnx(float_onnx, path, replace(targets["onnxruntime"].scheme, keep_activations=False), images)
    return path


@pytest.fixture(scope="session")
def int8_engine(int8_onnx: Path) -> EngineFile:
    return EngineFile.of("onnxruntime", int8_onnx)
