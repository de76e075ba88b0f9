"""Exported models that mask their gradients: a true figure, or an inconclusive verdict by the right name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.pipeline.results.report import Report
from onnx import GraphProto, helper, numpy_helper

from edgeproof import verify

pytestmark = pytest.mark.slow


def proof(path: Path, out: Path) -> Report:
    return verify(path, dataset="digits", eps=0.1, samples=25, out=out, workers=1, curve=False)


def robust(report: Report) -> float:
    return report.subjects[0]["robust_accuracy"]


@pytest.fixture(scope="module")
def truth(float_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    report = proof(float_onnx, tmp_path_factory.mktemp("truth"))
    assert report.data["verdict"] == "measured"
    return robust(report)


def masked(source: Path, path: Path, edit: Callable[[GraphProto], None]) -> Path:
    model = onnx.load(source)
    edit(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def round_the_pixels(graph: GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.float32(15), "levels"))
    for node in graph.node:
        node.input[:] = ["rounded" if name == "images" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Mul", ["images", "levels"], ["scaled"]))
    graph.node.insert(1, helper.make_node("Round", ["scaled"], ["whole"]))
    graph.node.insert(2, helper.make_node("Div", ["whole", "levels"], ["rounded"]))


def behind(graph: GraphProto) -> None:
    for node in graph.node:
        node.output[:] = ["raw" if name == "logits" else name for name in node.output]


def blow_up_the_logits(graph: GraphProto) -> None:
    behind(graph)
    graph.initializer.append(numpy_helper.from_array(np.float32(1e4), "factor"))
    graph.node.append(helper.make_node("Mul", ["raw", "factor"], ["logits"]))


def answer_probabilities(graph: GraphProto) -> None:
    behind(graph)
    graph.node.append(helper.make_node("Softmax", ["raw"], ["logits"], axis=-1))


def test_rounded_pixels_do_not_hide_the_gradient(float_onnx: Path, tmp_path: Path, truth: float):
    report = proof(masked(float_onnx, tmp_path / "m.onnx", round_the_pixels), tmp_path / "out")
    assert robust(report) <= truth + 0.03


@pytest.mark.parametrize("edit", [blow_up_the_logits, answer_probabilities])
def test_what_saturates_the_outputs_is_attacked_behind(float_onnx: Path, tmp_path: Path, truth: float, edit):
    report = proof(masked(float_onnx, tmp_path / "m.onnx", edit), tmp_path / "out")
    assert report.data["verdict"] == "measured"
    assert robust(report) <= truth
