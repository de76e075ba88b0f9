"""Files that are no image classifier get one line that says what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
from edgeproof.core.errors import ModelError
from edgeproof.targets import signature
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.signature import read_signature
from onnx import TensorProto, helper


def edited(source: Path, path: Path, edit) -> Path:
    model = onnx.load(source)
    edit(model)
    onnx.save(model, path)
    return path


def test_a_good_file(float_onnx: Path):
    found = read_signature(float_onnx)
    assert (found.image_shape, found.classes, found.batch) == ((1, 8, 8), 10, None)


def dynamic_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 1]))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(onnx.helper.make_tensor_value_info(model.graph.node[0].output[0], 1, ["batch", 8, 8, 8]))


def flat_input(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[2:]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (dynamic_height, "height of input 'images' is dynamic"),
        (second_input, "has 2 (images, mask)"),
        (second_output, "one output, this model has 2"),
        (flat_input, "has 2 dimensions"),
    ],
)
def test_no_image_classifier(float_onnx: Path, tmp_path: Path, edit, words: str):
    path = edited(float_onnx, tmp_path / "model.onnx", edit)
    with pytest.raises(ModelError, match=r".") as caught:
        read_signature(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file(float_onnx: Path, tmp_path: Path, share: float):
    content = float_onnx.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="truncated"):
        read_signature(path)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ModelError, match="no such file"):
        read_signature(tmp_path / "model.onnx")


FLOAT, HALF, LONG = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("operator", "kind", "shape", "answer"),
    [
        ("Flatten", FLOAT, ["n", 1, 2, 2], (FLOAT, ["n", 4])),
        ("Flatten", FLOAT, [3, 1, 2, 2], (FLOAT, [3, 4])),
        ("Flatten", FLOAT, [None, 1, 2, 2], (FLOAT, [None, 4])),
        ("Relu", FLOAT, ["n", 4], (FLOAT, ["n", 4])),
        ("Relu", FLOAT, [None, 1, 2, 2], (FLOAT, [None, 1, 2, 2])),
        ("Flatten", HALF, ["n", 1, 2, 2], (HALF, ["n", 4])),
        ("Flatten", TensorProto.UINT8, ["n", 1, 2, 2], (TensorProto.UINT8, ["n", 4])),
        ("Flatten", FLOAT, ["n", None, 2, 2], (FLOAT, ["n", None])),
        ("Shape", FLOAT, ["n", 1, 2, 2], (LONG, [4])),
        ("Split", FLOAT, ["n", 2, 2, 2], (FLOAT, ["n", 1, 2, 2])),
    ],
)
def test_a_runtime_says_what_the_file_says(
    target: str, operator: str, kind: int, shape: list, answer: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where there is no onnx to read the file with, the signature and the errors are the same."""
    if not targets[target].available().available:
        pytest.skip(targets[target].available().reason)
    outputs = ["y", "z"] if operator == "Split" else ["y"]
    options = {"axis": 1, "num_outputs": 2} if operator == "Split" else {}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], outputs, **options)],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, *answer) for name in outputs],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)

    def said() -> object:
        try:
            return targets[target].load(EngineFile.of(target, path)).signature
        except ModelError as error:
            return str(error)

    by_the_file = said()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert not signature.readable()
    monkeypatch.setattr(f"edgeproof.targets.{target}.target.read_signature", None)
    by_the_runtime = said()
    assert by_the_runtime == by_the_file
