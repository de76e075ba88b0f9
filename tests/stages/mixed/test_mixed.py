"""Mixed precision: the layer that robustness needs is found, and kept in float."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.margin import margins
from edgeproof.stages.mixed import ASSIGNMENT, assign
from edgeproof.stages.mixed.assignment import Assignment, choose
from edgeproof.stages.mixed.choose import _counts
from edgeproof.stages.mixed.points import find_points
from edgeproof.stages.mixed.sensitivity import answer, measure_sensitivity
from edgeproof.stages.quantize import QuantizeConfig, job_of, quantize_student
from edgeproof.stages.quantize.precisions.fp16 import Fp16
from edgeproof.stages.quantize.precisions.fp32 import Fp32
from edgeproof.stages.quantize.qdq import prepare
from edgeproof.stages.quantize.ranges import activation_ranges
from edgeproof.stages.quantize.search_config import SearchConfig
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import targets
from edgeproof.targets.signature import read_signature
from onnx import numpy_helper

TARGET = targets["onnxruntime"]
THREAT = ThreatModel(norm="Linf", eps=0.1)
FEW = SearchConfig(samples=100, steps=5)


def layers(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]


@pytest.fixture(scope="module")
def planted(float_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The student with one layer made hard to quantize: a channel nobody uses has a huge weight, one scale a tensor."""
    path = tmp_path_factory.mktemp("planted") / "model.onnx"
    prepare(float_onnx, path)
    model = onnx.load(path)
    victim = [node for node in model.graph.node if node.op_type == "Conv"][1]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weight, bias = (numpy_helper.to_array(tensors[name]).copy() for name in victim.input[1:3])
    weight[0] = 0
    weight[0, 0, 1, 1] = -50.0  # below zero for every image, so the Relu behind it answers 0
    bias[0] = -1.0
    for name, value in ((victim.input[1], weight), (victim.input[2], bias)):
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    del model.metadata_props[:]
    onnx.save(model, path)
    return path, victim.name


def per_tensor(**settings: object) -> QuantizeConfig:
    return QuantizeConfig.model_validate({"per_channel": False, "search": FEW.model_dump(), **settings})


def test_the_planted_layer_is_the_most_sensitive(planted: tuple[Path, str], digits: Dataset, tmp_path: Path):
    path, victim = planted
    points = find_points(load_twin(path), digits.validation, THREAT, FEW)
    prepared = tmp_path / "prepared.onnx"
    prepare(path, prepared)
    config = per_tensor()
    name = read_signature(path).input_name
    scheme = TARGET.scheme.__class__(**{**vars(TARGET.scheme), "per_channel": False})
    ranges = activation_ranges(prepared, name, digits.train.images[:64], config.calibration, scheme)
    heard: list[tuple[int, int]] = []
    found = measure_sensitivity(prepared, ranges, scheme, points, progress=lambda *done: heard.append(done))
    assert [each.layer for each in found] == layers(onnx.load(prepared))
    assert max(found, key=lambda each: each.margin_drop).layer == victim
    drops = sorted(each.margin_drop for each in found)
    assert drops[-1] > 5 * max(drops[-2], 0.001)
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_points_are_the_validation_splits_and_in_the_ball(float_onnx: Path, digits: Dataset):
    points = find_points(load_twin(float_onnx), digits.validation, THREAT, FEW)
    assert len(points.split) == 100
    assert set(points.split.index.tolist()) <= set(digits.validation.index.tolist())
    assert np.abs(points.adversarial - points.split.images).max() <= THREAT.eps + 1e-6
    clean, adversarial = (
        margins(answer(float_onnx, images), points.labels).mean()
        for images in (points.split.images, points.adversarial)
    )
    assert adversarial < clean


def test_margins_are_below_zero_exactly_where_the_answer_is_wrong():
    logits = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 5, 50)
    np.testing.assert_array_equal(margins(logits, labels) > 0, logits.argmax(1) == labels)


def assigned(path: Path, config: QuantizeConfig, digits: Dataset, folder: Path, limits, *, others=(), **more):
    job = job_of(path, config, TARGET.scheme, digits, THREAT, folder, target=TARGET, limits=limits, **more)
    return assign(job, others=others)


def test_the_sensitive_layer_stays_in_float(planted: tuple[Path, str], digits: Dataset, tmp_path: Path):
    path, victim = planted
    chosen = assigned(path, per_tensor(precision="mixed"), digits, tmp_path, {"retention": 0.98})
    record = json.loads((tmp_path / ASSIGNMENT).read_text())
    by_name = {each["name"]: each for each in record["candidates"]}
    assert by_name["int8"]["retention"] < 0.9  # else nothing is shown
    assert chosen.retention >= 0.98
    assert victim in chosen.in_float
    assert len(chosen.in_float) < 4
    assert record["split"] == "validation"
    assert record["chosen"] == chosen.name
    # In the file too: its weight is float, the others' are integers.
    model = onnx.load(tmp_path / "model.onnx")
    makers = {name: node for node in model.graph.node for name in node.output}
    in_float = {
        node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] not in makers
    }
    assert in_float == set(chosen.in_float)
    for picture in ("sensitivity.png", "pareto.png"):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"


def test_auto_takes_the_fastest_of_all_that_are_good_enough(float_onnx: Path, digits: Dataset, tmp_path: Path):
    config = QuantizeConfig(precision="auto", search=FEW)
    chosen = assigned(float_onnx, config, digits, tmp_path, {"retention": 0.9}, others=(Fp16(), Fp32()))
    record = json.loads((tmp_path / ASSIGNMENT).read_text())
    assert {"int8", "fp16", "fp32"} <= {each["name"] for each in record["candidates"]}
    fine = [each for each in record["candidates"] if each["retention"] >= 0.9]
    assert chosen.latency_ms == min(each["latency_ms"] for each in fine)
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert properties["edgeproof.precision"] == chosen.name


def test_where_nothing_is_good_enough_the_most_robust_is_taken_and_said(
    planted: tuple[Path, str], digits: Dataset, tmp_path: Path
):
    heard: list[str] = []
    config = per_tensor(precision="mixed")
    chosen = assigned(planted[0], config, digits, tmp_path, {"robust_accuracy": 1.0}, notice=heard.append)
    assert heard == [
        f"quantize: no assignment reaches robust_accuracy >= 1 on the validation split; {chosen.name} comes nearest"
    ]
    record = json.loads((tmp_path / ASSIGNMENT).read_text())
    assert chosen.robust_accuracy == max(each["robust_accuracy"] for each in record["candidates"])


def candidates() -> Iterator[Assignment]:
    for name, robust, latency in (("int8", 0.70, 1.0), ("some", 0.79, 1.5), ("more", 0.78, 1.2), ("fp32", 0.80, 3.0)):
        yield Assignment(name, (), 0.9, robust, robust / 0.8, latency, 1000)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"retention": 0.8}, "int8"),
        ({"retention": 0.97}, "more"),
        ({"retention": 0.98, "robust_accuracy": 0.785}, "some"),
        ({"robust_accuracy": 0.8}, "fp32"),
        ({"robust_accuracy": 0.9}, "fp32"),
    ],
)
def test_the_choice(limits: dict[str, float], expected: str):
    assert choose(list(candidates()), limits).name == expected


def test_ever_larger_steps():
    assert _counts(1) == [0]
    assert _counts(4) == [0, 1, 2, 3]
    assert _counts(50) == [0, 1, 2, 3, 5, 7, 10, 14, 19, 26, 35, 47]


def test_fp16_keeps_images_and_logits_and_hardly_moves_them(float_onnx: Path, digits: Dataset, tmp_path: Path):
    quantize_student(float_onnx, QuantizeConfig(precision="fp16"), TARGET.scheme, digits, THREAT, tmp_path)
    half = tmp_path / "model.onnx"
    model = onnx.load(half)
    onnx.checker.check_model(model, full_check=True)
    kinds = {tensor.data_type for tensor in model.graph.initializer if tensor.data_type != onnx.TensorProto.INT64}
    assert kinds == {onnx.TensorProto.FLOAT16}
    images = digits.test.images
    found, expected = answer(half, images), answer(float_onnx, images)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    twin = load_twin(half)(torch.from_numpy(images[:16]))
    assert np.abs(np.asarray(twin) - found[:16]).max() < 0.02 * np.abs(expected).max()
