"""Values that are never below zero are only called so where that is true, and no gradient changes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.twin import Twin, load_twin, program
from edgeproof.stages.twin.quantize import Quantizer
from onnx import helper

from tests.stages.twin.graphs import model

QDQ = [
    helper.make_node("QuantizeLinear", ["b", "scale", "zero"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
]


def positive(*nodes: onnx.NodeProto) -> Twin:
    """A graph x → a → b → Q → DQ."""
    values = {"scale": np.float32(0.5), "zero": np.uint8(0), "half": np.float32(0.5), "nothing": np.float32(0)}
    return Twin(model([*nodes, *QDQ], inputs={"x": [1, 1, 4, 4]}, initializers=values))


def quantizers(twin: Twin) -> list[Quantizer]:
    kernels = [getattr(step.kernel, "__self__", step.kernel) for step in twin._program.steps]
    return [kernel for kernel in kernels if isinstance(kernel, Quantizer)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("Relu", ["x"], {}), ("MaxPool", ["a"], {"kernel_shape": [2, 2]}), True),
        (("Sigmoid", ["x"], {}), ("Identity", ["a"], {}), True),
        (("Clip", ["x", "nothing"], {}), ("Flatten", ["a"], {}), True),
        (("Clip", ["x", "", "half"], {}), ("Flatten", ["a"], {}), False),
        (("Relu", ["x"], {}), ("Neg", ["a"], {}), False),
        (("Relu", ["x"], {}), ("Sub", ["a", "half"], {}), False),
        (("Identity", ["x"], {}), ("MaxPool", ["a"], {"kernel_shape": [2, 2]}), False),
        (("LeakyRelu", ["x"], {}), ("Identity", ["a"], {}), False),
    ],
)
def test_what_is_never_negative(first: tuple, second: tuple, expected: bool):
    (op, inputs, attributes), (then, inputs_then, attributes_then) = first, second
    nodes = (
        helper.make_node(op, inputs, ["a"], **attributes),
        helper.make_node(then, inputs_then, ["b"], **attributes_then),
    )
    twin = positive(*nodes)
    assert [each.positive for each in quantizers(twin)] == [expected]
    x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(twin(x).sum(), x)
    if expected:
        assert slope.any()


def test_a_quantized_network_has_the_same_gradient_to_the_last_bit(
    int8_onnx: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
):
    def slope(twin: Twin) -> torch.Tensor:
        x = torch.from_numpy(digits.test.images[:20]).requires_grad_()
        (found,) = torch.autograd.grad(twin(x)[:, 3].sum(), x)
        return found

    monkeypatch.setattr(program, "take_shortcuts", lambda *_: None)  # they say more of quantizers before ReLUs
    short = load_twin(int8_onnx)
    assert sum(each.positive for each in quantizers(short)) >= 3
    monkeypatch.setattr(program, "never_negative", lambda node: False)
    whole = load_twin(int8_onnx)
    assert not any(each.positive for each in quantizers(whole))
    assert torch.equal(slope(short), slope(whole))
