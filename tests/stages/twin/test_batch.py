"""Batches of any size from graphs that were exported for one, against the graph asked batch by batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.twin import load_twin
from onnx import TensorProto, helper, numpy_helper

from tests.stages.adapt.foreign import CHANNELS, CLASSES, HEIGHT, SHAPE, WIDTH, answers, classifier, some_images


def with_token(path: Path, batch: int, *, mixes: bool = False) -> Path:
    """A token in front of the rows of an image, and whole numbers of a batch wherever an exporter writes them.

    Args:
        path: where it goes.
        batch: the size that it was exported for.
        mixes: whether the images of a batch see one another, so that no other size can be right.
    """
    rng = np.random.default_rng(2)
    rows = HEIGHT * WIDTH
    stored = {
        "token": np.repeat(rng.normal(size=(1, 1, CHANNELS)), batch, axis=0).astype(np.float32),
        "weight": rng.normal(size=(CHANNELS, 4)).astype(np.float32),
        "rows": np.array([batch, CHANNELS, rows], np.int64),
        "long": np.array([batch * (rows + 1), CHANNELS], np.int64),
        "back": np.array([batch, -1, 4], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "rows"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["token", "tokens"], ["all"], axis=1),
        helper.make_node("Reshape", ["all", "long"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["values"]),
        helper.make_node("Softmax", ["values"], ["shares"], axis=0 if mixes else 1),
        helper.make_node("Reshape", ["shares", "back"], ["apart"]),
        helper.make_node("ReduceMean", ["apart"], ["logits"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "token",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["layer", "token", "mixes"])
def test_any_number_of_images(tmp_path: Path, kind: str, batch: int):
    if kind == "layer":
        path = classifier(tmp_path / "m.onnx", (batch, *SHAPE), shape=(batch, -1))
    else:
        path = with_token(tmp_path / "m.onnx", batch, mixes=kind == "mixes")
    images = some_images(6)
    (expected,) = answers(path, images, each=batch)
    x = torch.from_numpy(images).requires_grad_()
    twin = load_twin(path)
    got = twin(x)
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    together = torch.autograd.grad(got.square().sum(), x)[0]
    apart = torch.cat([torch.autograd.grad(twin(part).square().sum(), part)[0] for part in _parts(images, batch)])
    np.testing.assert_allclose(together.numpy(), apart.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ends", ["reshape", "mean"])
def test_a_batch_that_is_called_free_and_is_not(tmp_path: Path, ends: str):
    """A whole number in a Reshape, or an answer of one row whatever the batch."""
    if ends == "reshape":
        path = classifier(tmp_path / "m.onnx", ("N", *SHAPE), shape=(1, -1))
    else:
        mean = helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0])
        row = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, CLASSES])
        path = classifier(tmp_path / "m.onnx", ("N", *SHAPE), behind=[mean], outputs=[row])
    (expected,) = answers(path, some_images(6), each=1)
    got = load_twin(path)(torch.from_numpy(some_images(6)))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_last_batch_that_is_not_full(tmp_path: Path, count: int):
    twin = load_twin(with_token(tmp_path / "m.onnx", 3))
    whole = twin(torch.from_numpy(some_images(6)))
    torch.testing.assert_close(twin(torch.from_numpy(some_images(6)[:count])), whole[:count], rtol=1e-4, atol=1e-5)


def _parts(images: np.ndarray, batch: int) -> list[torch.Tensor]:
    return [torch.from_numpy(part).requires_grad_() for part in np.split(images, len(images) // batch)]
