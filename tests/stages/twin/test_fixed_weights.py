"""Convolutions with constant weights: torch's own answer, and torch's own gradient of the images up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgeproof.stages.twin import Twin
from edgeproof.stages.twin.ops import fixed_weights
from onnx import helper

from tests.stages.twin.graphs import model

# Image shape, weights, and attributes; each with the way that the gradient takes.
CASES = [
    ((1, 8, 8), (8, 1, 3, 3), {"pads": [1, 1, 1, 1]}, "matrix"),
    ((8, 8, 8), (16, 8, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}, "matrix"),
    ((4, 5, 7), (6, 2, 3, 3), {"group": 2, "pads": [0, 1, 2, 1]}, "matrix"),
    ((3, 9, 6), (4, 3, 3, 2), {"dilations": [2, 1], "auto_pad": "SAME_UPPER"}, "matrix"),
    ((1, 28, 28), (8, 1, 3, 3), {"pads": [1, 1, 1, 1]}, "thin"),
    ((3, 20, 24), (8, 3, 5, 3), {"pads": [2, 0, 2, 0]}, "thin"),
    ((3, 20, 24), (8, 3, 3, 3), {"pads": [0, 0, 1, 1]}, "plain"),
    ((3, 28, 28), (8, 3, 3, 3), {"strides": [2, 2]}, "plain"),
    ((8, 28, 28), (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}, "plain"),
]


def twin_of(weights: np.ndarray, bias: np.ndarray, attributes: dict[str, Any]) -> Twin:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    shape = ["n", weights.shape[1] * attributes.get("group", 1), "h", "w"]
    return Twin(model([node], inputs={"x": shape}, initializers={"w": weights, "b": bias}))


def gradient(twin: Twin, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.clone().requires_grad_()
    answer = twin(leaf)
    assert isinstance(answer, torch.Tensor)
    cotangent = torch.rand(answer.shape, generator=torch.Generator().manual_seed(2)).to(x.dtype)
    (found,) = torch.autograd.grad(answer, leaf, cotangent)
    return answer.detach(), found


@pytest.mark.parametrize(("shape", "kernel", "attributes", "way"), CASES)
def test_the_gradient_of_the_images_is_torchs_own(
    shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], way: str, monkeypatch
):
    random = np.random.default_rng(0)
    weights = random.normal(size=kernel).astype(np.float32)
    bias = random.normal(size=kernel[0]).astype(np.float32)
    x = torch.from_numpy(random.uniform(size=(5, *shape)).astype(np.float32))
    taken = {"plain"}
    by_matrix, thin = fixed_weights._ByMatrix.apply, fixed_weights.thin_conv2d
    monkeypatch.setattr(fixed_weights._ByMatrix, "apply", lambda *a: (taken.add("matrix"), by_matrix(*a))[1])
    monkeypatch.setattr(fixed_weights, "thin_conv2d", lambda *a: (taken.add("thin"), thin(*a))[1])
    twin = twin_of(weights, bias, attributes)
    answer, found = gradient(twin, x)
    assert taken == {"plain", way}
    with torch.no_grad():
        assert torch.equal(answer, twin(x)), "an answer with a gradient is the one without"
    # In float64 every convolution is torch's own.
    expected, reference = gradient(twin_of(weights, bias, attributes).double(), x.double())
    torch.testing.assert_close(answer.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.double(), reference, atol=1e-5, rtol=1e-5)


def test_images_of_another_size_have_another_matrix():
    weights, bias = np.ones((2, 1, 3, 3), np.float32), np.zeros(2, np.float32)
    twin = twin_of(weights, bias, {"pads": [1, 1, 1, 1]})
    for size in (8, 6, 8):
        x = torch.rand(3, 1, size, size, requires_grad=True)
        (found,) = torch.autograd.grad(twin(x).sum(), x)  # type: ignore[union-attr]
        (expected,) = torch.autograd.grad(F.conv2d(x, torch.from_numpy(weights), padding=1).sum(), x)
        torch.testing.assert_close(found, expected)
