"""ONNX files are read in one place, and a broken one is a line that names it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import ModelError
from edgeproof.core.onnx_reader import read_onnx
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A model whose weight lies in `weights.bin`."""
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    weight = numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "graph", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_weights_beside_the_file_are_read_where_they_are_wanted(beside: Path):
    (found,) = read_onnx(beside, checked=True).graph.initializer
    assert numpy_helper.to_array(found).tolist() == [1, 2, 3, 4]
    beside.with_name("weights.bin").unlink()
    assert read_onnx(beside, weights=False).graph.node[0].op_type == "Add"
    with pytest.raises(ModelError, match=r"model\.onnx: external data cannot be read: ") as caught:
        read_onnx(beside)
    assert "\n" not in str(caught.value)


def test_weights_elsewhere_are_not_opened(beside: Path):
    os.mkfifo(beside.parent.parent / "secret")  # whoever opens it waits for ever
    model = read_onnx(beside, weights=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    beside.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="external data cannot be read"):
        read_onnx(beside)


def test_a_name_decides_nothing(beside: Path):
    """`onnx.load` reads a `.json` or a `.txt` file as text."""
    renamed = beside.rename(beside.with_name("model.json"))
    assert read_onnx(renamed).graph.name == "graph"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "not a valid ONNX model, or truncated (it has no outputs)"),
        (b"name: digits\n", "not a valid ONNX model, or truncated"),
        (onnx.ModelProto(producer_name="nobody").SerializeToString(), "(it has no outputs)"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes | None, words: str):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_the_checker_is_asked_where_that_is_wanted(beside: Path):
    model = read_onnx(beside, weights=False)
    model.graph.node[0].input[0] = "nowhere"
    beside.write_bytes(model.SerializeToString())
    assert read_onnx(beside).graph.node
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        read_onnx(beside, checked=True)
    with pytest.raises(ModelError, match="is a folder; a file is needed"):
        read_onnx(beside.parent)


@pytest.mark.parametrize("op_type", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_what_onnx_runtime_writes_into_onnxs_own_domain_passes_the_checker(op_type: str, tmp_path: Path):
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op_type, ["x", "w"], ["y"])], "graph", values[:1], values[1:], [weight])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9), path)
    assert read_onnx(path, checked=True).graph.node[0].op_type == op_type
