"""What many tests start from: a trained student, its float and quantized ONNX files, its engines."""

from __future__ import annotations

import os

from tests.shared import shared_folder

# Before torch is imported, which reads it then. Test processes run side by side: threads would fight over the cores,
# and so would processes that compile. What torch compiles is kept.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
os.environ["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "0"
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"  # the processor's instructions are known; trying them takes eight seconds
os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(shared_folder() / "inductor")

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.base import EngineFile, Scheme, targets

from tests.exporter import keep_translations
from tests.shared import made_once

pytest_plugins = ["tests.cpu_seconds", "tests.distribution"]

keep_translations()

DATA = Path(__file__).parent / "data"


def pytest_collection_finish() -> None:
    """What imports and collection left is no garbage of the tests': looking at it again and again takes a fortieth."""
    gc.collect()
    gc.freeze()


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
def float_onnx(student: Classifier) -> Path:
    def export(folder: Path) -> None:
        export_onnx(student.load(), student.image_shape, folder / "model.onnx", opset=18)

    return made_once("float", export) / "model.onnx"


def _quantized(name: str, source: Path, digits: Dataset, scheme: Scheme) -> Path:
    def quantize(folder: Path) -> None:
        images = calibration_split(digits.train, CalibrationConfig()).images
        quantize_onnx(source, folder / "model.onnx", scheme, images)

    return made_once(name, quantize) / "model.onnx"


@pytest.fixture(scope="session")
def int8_onnx(float_onnx: Path, digits: Dataset) -> Path:
    """The student in ONNX Runtime's own scheme, as a build ships it."""
    return _quantized("int8", float_onnx, digits, targets["onnxruntime"].scheme)


@pytest.fixture(scope="session")
def swallowed_onnx(float_onnx: Path, digits: Dataset) -> Path:
    """The student as foreign tools quantize it: the ReLUs live in the quantizers' lower clips."""
    return _quantized("swallowed", float_onnx, digits, replace(targets["onnxruntime"].scheme, keep_activations=False))


@pytest.fixture(scope="session")
def student_file(float_onnx: Path, digits: Dataset) -> Callable[[str, str], Path]:
    """The student's ONNX file by target and precision: int8 in the target's own scheme."""

    def found(target: str, precision: str) -> Path:
        scheme = targets[target].scheme
        return float_onnx if precision == "fp32" else _quantized(f"int8-{scheme.name}", float_onnx, digits, scheme)

    return found


@pytest.fixture(scope="session")
def student_engine(student_file: Callable[[str, str], Path]) -> Callable[[str, str], EngineFile]:
    """The student's engine by target and precision."""

    def found(target: str, precision: str) -> EngineFile:
        source, tied = student_file(target, precision), targets[target].tied_to()

        def build(folder: Path) -> None:
            built = targets[target].build(source, folder)
            (folder / "engine.json").write_text(json.dumps({"name": built.path.name, "sha256": built.sha256}))

        known = "" if tied is None else f"-{crc32(tied.encode()):08x}"
        folder = made_once(f"engine-{target}-{precision}{known}", build)
        about = json.loads((folder / "engine.json").read_text())
        return EngineFile(target, folder / about["name"], about["sha256"])

    return found


@pytest.fixture(scope="session")
def int8_engine(int8_onnx: Path) -> EngineFile:
    return EngineFile.of("onnxruntime", int8_onnx)
