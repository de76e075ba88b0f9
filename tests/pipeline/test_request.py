"""What `verify` is asked to prove: models, data and settings that do not go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.pipeline import verify
from edgeproof.targets.errors import UsageError
from onnx import TensorProto, helper, numpy_helper

PIXELS, CLASSES = 12, 3


def linear_model(path: Path, image: tuple[int, int, int]) -> Path:
    """An ONNX file of one layer for images of twelve pixels."""
    weight = np.random.default_rng(0).normal(size=(PIXELS, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *image])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def images_of(folder: Path, labels: list[int]) -> str:
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 3, 2, 2), np.uint8)
    np.savez(folder / "own.npz", images=images, labels=labels)
    return str(folder / "own.npz")


@pytest.mark.parametrize(
    ("labels", "image", "words"),
    [
        ([0, 1, 7], (3, 2, 2), "its classes are 3, .* a test image has the label 7, the model's go from 0 to 2"),
        ([0, 1, 1], (3, 2, 2), "its classes are 3, those of dataset 'npz' are 2; name all 3 in its class_names"),
        ([0, 1, 2], (2, 2, 3), r"its images are \(2, 2, 3\), .* channels first, \[N, C, H, W\]"),
        ([0, 1, 2], (3, 4, 1), r"its images are \(3, 4, 1\), those of dataset 'npz' are \(3, 2, 2\)$"),
    ],
)
def test_a_model_of_another_task(tmp_path: Path, labels: list[int], image: tuple[int, int, int], words: str):
    model = linear_model(tmp_path / "model.onnx", image)
    with pytest.raises(UsageError, match=words):
        verify(model, dataset=images_of(tmp_path, labels), eps=0.1, out=tmp_path / "proof")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": -1}, "--seed: input should be greater than or equal to 0, got -1"),
        ({"samples": 0}, "--samples: input should be greater than or equal to 1, got 0"),
    ],
)
def test_settings_that_no_run_can_have(tmp_path: Path, settings: dict[str, int], words: str):
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    with pytest.raises(UsageError, match=words):
        verify(model, dataset=images_of(tmp_path, [0, 1, 2]), eps=0.1, out=tmp_path / "proof", **settings)


def test_a_folder_is_no_model(tmp_path: Path):
    with pytest.raises(UsageError, match="is a folder; a file is needed"):
        verify(tmp_path, dataset=images_of(tmp_path, [0, 1, 2]), eps=0.1, out=tmp_path / "proof")
