"""Files that are no image classifier get one line that says what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from edgeproof.targets.errors import ModelError
from edgeproof.targets.signature import read_signature
from onnx import TensorProto


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
