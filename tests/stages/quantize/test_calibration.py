"""Calibration: which images, and which ranges the methods find on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.quantize import (
    CALIBRATION,
    CalibrationConfig,
    QuantizeConfig,
    calibration_sample,
    calibration_split,
    quantize_onnx,
    quantize_student,
)
from edgeproof.stages.quantize.ranges import activation_ranges
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import Scheme, targets
from onnx import TensorProto, helper, numpy_helper

U8S8 = targets["onnxruntime"].scheme
SYMMETRIC = Scheme("s8s8", "int8", activation_symmetric=True)
THREAT = ThreatModel(norm="Linf", eps=0.1)


def passing(path: Path) -> Path:
    """A model whose one activation, `y`, is its input."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("MatMul", ["y", "w"], ["z"])],
        "passing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1000])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.ones((1000, 1), np.float32), "w")],
        value_info=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1000])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def ranges(path: Path, values: np.ndarray, scheme: Scheme = U8S8, **config: object) -> tuple[float, float]:
    settings = CalibrationConfig.model_validate(config)
    return activation_ranges(passing(path), "x", values.astype(np.float32), settings, scheme)["y"]


@pytest.fixture
def tailed() -> np.ndarray:
    """Normal values, shuffled over many batches, and one far outlier."""
    values = np.random.default_rng(0).standard_normal((200, 1000))
    values[77, 5] = 40.0
    return values


def test_minmax_is_the_extremes_of_all_batches(tailed: np.ndarray, tmp_path: Path):
    found = ranges(tmp_path / "m.onnx", tailed, method="minmax")
    np.testing.assert_allclose(found, (tailed.min(), 40.0), rtol=1e-6)


def test_percentile_is_numpys(tailed: np.ndarray, tmp_path: Path):
    found = ranges(tmp_path / "m.onnx", tailed, method="percentile", percentile=99.0)
    expected = np.percentile(tailed, (0.5, 99.5))
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_entropy_drops_the_outlier(tailed: np.ndarray, tmp_path: Path):
    low, high = ranges(tmp_path / "m.onnx", tailed[60:90], method="entropy")
    assert -6 < low < -2
    assert 2 < high < 10


@pytest.mark.parametrize("scheme", [U8S8, SYMMETRIC], ids=["asymmetric", "symmetric"])
def test_mse_is_the_best_range_that_a_search_by_hand_finds(tailed: np.ndarray, scheme: Scheme, tmp_path: Path):
    low, high = ranges(tmp_path / "m.onnx", tailed, scheme, method="mse")
    steps = 127 if scheme.activation_symmetric else 255

    def error(low: float, high: float) -> float:
        scale = high / steps if scheme.activation_symmetric else (high - low) / steps
        rounded = np.clip(np.round(tailed / scale), np.round(low / scale), np.round(high / scale)) * scale
        return float(((tailed - rounded) ** 2).mean())

    assert error(low, high) < 0.8 * error(tailed.min(), 40.0)
    tried = [40.0 * share for share in np.linspace(0.2, 1.0, 81)]
    bounds = [(-b, b) if scheme.activation_symmetric else (max(-b, tailed.min()), b) for b in tried]
    assert error(low, high) <= 1.05 * min(error(*bound) for bound in bounds)


def test_images_are_streamed(tailed: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same ranges, whatever the size of a batch."""
    found = ranges(tmp_path / "m.onnx", tailed, method="mse")
    monkeypatch.setattr("edgeproof.stages.quantize.ranges.BATCH", 7)
    np.testing.assert_allclose(ranges(tmp_path / "m.onnx", tailed, method="mse"), found, rtol=0.05)


def test_adversarial_images_are_in_the_ball_and_fool_the_model(float_onnx: Path, digits: Dataset):
    config = CalibrationConfig(samples=60, images="mix")
    model = load_twin(float_onnx)
    clean = calibration_split(digits.train, config)
    sample = calibration_sample(digits, config, THREAT, model)
    assert sample.adversarial == 30
    np.testing.assert_array_equal(sample.split.index, clean.index)
    moved = np.abs(sample.split.images - clean.images).reshape(60, -1).max(1)
    assert (moved[:30] == 0).all()
    assert (moved[30:] > 0.05).all()
    assert (moved <= THREAT.eps + 1e-6).all()
    labels = torch.from_numpy(clean.labels)
    with torch.no_grad():
        logits = [model(torch.from_numpy(split.images)) for split in (clean, sample.split)]
    losses = [torch.nn.functional.cross_entropy(answer, labels, reduction="none")[30:] for answer in logits]
    assert (losses[1] > losses[0]).all()
    every = calibration_sample(digits, config.model_copy(update={"images": "adversarial"}), THREAT, model)
    assert every.adversarial == 60


def test_a_small_or_lopsided_sample_is_told(float_onnx: Path, digits: Dataset, tmp_path: Path):
    rows = np.flatnonzero(digits.train.labels < 2)[:200]
    lopsided = replace(digits, train=digits.train.take(rows))
    heard: list[str] = []
    config = QuantizeConfig(calibration=CalibrationConfig(samples=40))
    quantize_student(float_onnx, config, U8S8, lopsided, THREAT, tmp_path, notice=heard.append)
    assert ["40 images" in heard[0], "8 of 10 classes" in heard[1]] == [True, True]
    assert json.loads((tmp_path / CALIBRATION).read_text())["warnings"] == heard


def test_images_out_of_range(digits: Dataset):
    wrong = replace(digits, train=Split(digits.train.images * 255, digits.train.labels, digits.train.index))
    with pytest.raises(UsageError, match=r"finite and in \[0, 1\]"):
        calibration_sample(wrong, CalibrationConfig(samples=8), THREAT, None)


def test_the_method_reaches_the_file(float_onnx: Path, digits: Dataset, tmp_path: Path):
    scales = {}
    for method in ("minmax", "entropy"):
        path = tmp_path / f"{method}.onnx"
        quantize_onnx(float_onnx, path, U8S8, digits.train.images[:32], CalibrationConfig(method=method))
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
        scales[method] = [
            float(value) for name, value in tensors.items() if name.endswith("_scale") and value.size == 1
        ]
    assert sum(scales["entropy"]) < 0.95 * sum(scales["minmax"])
