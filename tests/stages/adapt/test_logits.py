"""Output adapters, against what the model answers in its own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.adapt import AdapterConfig, adapt
from onnx import TensorProto, helper

from tests.stages.adapt.foreign import CLASSES, SHAPE, answers, classifier, some_images

NCHW = ("N", *SHAPE)


def value(name: str, *dimensions: int | str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(dimensions))


SCORES = value("scores", "N", CLASSES)
SOFTMAX = helper.make_node("Softmax", ["scores"], ["shares"], axis=1)
ARGMAX = helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)
LABEL = value("label", "N", dtype=TensorProto.INT64)


def adapted(path: Path, classes: int = CLASSES, **settings: Any) -> np.ndarray:
    found = adapt(path, AdapterConfig(**settings), SHAPE, classes, some_images())
    assert found is not None
    onnx.checker.check_model(found.model)
    (logits,) = answers(found.model, some_images())
    return logits


def own(path: Path, place: int = 0) -> np.ndarray:
    return answers(path, some_images())[place]


def test_one_of_several_outputs(tmp_path: Path):
    path = classifier(
        tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, ARGMAX], outputs=[SCORES, value("shares", "N", CLASSES), LABEL]
    )
    with pytest.raises(UsageError, match=r"--output-name: scores \[N, 6\], shares \[N, 6\], label \[N, \]"):
        adapted(path)
    np.testing.assert_array_equal(adapted(path, output_name="scores"), own(path, 0))
    np.testing.assert_array_equal(adapted(path, output_name="shares"), own(path, 1))
    with pytest.raises(UsageError, match=r"has no output 'logits' \(it has: scores, shares, label\)"):
        adapted(path, output_name="logits")


def test_shares_beside_labels_are_found(tmp_path: Path):
    path = classifier(
        tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, ARGMAX], outputs=[LABEL, value("shares", "N", CLASSES)]
    )
    np.testing.assert_array_equal(adapted(path), own(path, 1))


def test_labels_alone_are_rows_of_one(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[ARGMAX], outputs=[LABEL])
    np.testing.assert_array_equal(adapted(path), np.eye(CLASSES, dtype=np.float32)[own(path)])


def test_axes_of_one_number_go(tmp_path: Path):
    behind = helper.make_node("Unsqueeze", ["scores", "axes"], ["map"])
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[2, 3])
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[axes, behind], outputs=[value("map", "N", CLASSES, 1, 1)])
    np.testing.assert_array_equal(adapted(path), own(path)[:, :, 0, 0])


def test_an_unknown_number_of_classes_is_counted(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, outputs=[value("scores", "N", "K")])
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert found is not None
    assert found.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value == CLASSES


@pytest.mark.parametrize("squash", [False, True])
def test_one_number_for_two_classes(tmp_path: Path, squash: bool):
    behind = [helper.make_node("Sigmoid", ["scores"], ["answer"])] if squash else []
    name = "answer" if squash else "scores"
    path = classifier(tmp_path / "m.onnx", NCHW, classes=1, behind=behind, outputs=[value(name, "N", 1)])
    second = own(path)[:, 0] > (0.5 if squash else 0)
    assert 0 < second.sum() < len(second)
    np.testing.assert_array_equal(adapted(path, 2).argmax(1), second)


def test_classes_behind_a_background(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    np.testing.assert_array_equal(adapted(path, CLASSES - 1, classes_offset=1), own(path)[:, 1:])
    with pytest.raises(UsageError, match="--classes-offset: reaches beyond the 6 classes"):
        adapted(path, CLASSES, classes_offset=1)


def test_classes_in_another_order(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    (tmp_path / "map.txt").write_text("4\n0\n3\n")
    np.testing.assert_array_equal(adapted(path, 3, label_map=tmp_path / "map.txt"), own(path)[:, [4, 0, 3]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0\n1\n", "needs 3 different numbers"),
        ("0\n1\n1\n", "needs 3 different numbers"),
        ("cat\ndog\nbird\n", "a whole number a line"),
        ("0\n1\n6\n", "reaches beyond the 6 classes"),
        (None, "No such file"),
    ],
)
def test_a_label_map_that_is_none(tmp_path: Path, text: str | None, words: str):
    path = classifier(tmp_path / "m.onnx", NCHW)
    if text is not None:
        (tmp_path / "map.txt").write_text(text)
    with pytest.raises(UsageError, match=f"--label-map.*{words}"):
        adapted(path, 3, label_map=tmp_path / "map.txt")


def test_nodes_out_of_order_are_sorted(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[SOFTMAX], outputs=[value("shares", "N", CLASSES)])
    expected = own(path)
    model = onnx.load(path)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    np.testing.assert_array_equal(adapted(path), expected)
