"""What a program leaves out changes neither logits nor gradients, and is left out only where that is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.twin import BACKWARD_MODES, BackwardMode, Twin, load_twin, program
from onnx import helper
from torch import Tensor

from tests.stages.twin.graphs import model, run_onnxruntime

ZEROS = {"low": 0, "middle": 128}


def quantized(source: str, scale: str, zero: str, target: str) -> list[onnx.NodeProto]:
    """A quantizer and its dequantizer."""
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{target}_q"]),
        helper.make_node("DequantizeLinear", [f"{target}_q", scale, zero], [target]),
    ]


def graph(
    between: list[onnx.NodeProto],
    *,
    first: str = "low",
    second: tuple[str, str] = ("s", "low"),
    outputs: tuple[str, ...] = ("y",),
    **inputs: Any,
) -> onnx.ModelProto:
    """x → Q → DQ → a, then nodes from a to b, then b → Q → DQ → y."""
    values: dict[str, Any] = {"s": np.float32(0.1), "other": np.float32(0.13), "shape": np.array([2, -1], np.int64)}
    values |= {name: np.uint8(value) for name, value in ZEROS.items()}
    nodes = [*quantized("x", "s", first, "a"), *between, *quantized("b", *second, "y")]
    values = {name: value for name, value in values.items() if name not in inputs}
    return model(nodes, inputs={"x": [2, 3, 4], **inputs}, initializers=values, outputs=outputs)


def node(op: str, *more: str, **attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(op, ["a", *more], ["b"], **attributes)]


def random(seed: int = 0) -> np.ndarray:
    """Values on and between steps, below zero and beyond the grid."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-400, 600, (2, 3, 4)) / 2
    return (steps * np.float32(0.1)).astype(np.float32)


def again(twin: Twin) -> int:
    return sum(type(step.kernel).__name__ == "_Again" for step in twin._program.steps)


def both(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> tuple[Twin, Twin]:
    short = Twin(proto)
    with monkeypatch.context() as patched:
        patched.setattr(program, "take_shortcuts", lambda *_: None)
        return short, Twin(proto)


def slope(twin: Twin, x: Tensor, mode: BackwardMode) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of a sum of them with random weights."""
    x = x.clone().requires_grad_()
    found = twin(x, backward=mode)
    logits = torch.cat([part.flatten() for part in (found if isinstance(found, tuple) else (found,))])
    weights = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) + 0.5
    (gradient,) = torch.autograd.grad((logits * weights).sum(), x)
    return logits.detach(), gradient


CASES = {
    "a ReLU": (graph(node("Relu")), 1),
    "a reshape": (graph(node("Reshape", "shape")), 1),
    "a transpose": (graph(node("Transpose", perm=[0, 2, 1]), first="middle", second=("s", "middle")), 1),
    "a ReLU on a grid with negative values": (graph(node("Relu"), first="middle", second=("s", "middle")), 1),
    "another zero point": (graph(node("Relu"), first="middle"), 0),
    "another scale": (graph(node("Relu"), second=("other", "low")), 0),
    "an operator that leaves the grid": (graph([helper.make_node("Mul", ["a", "other"], ["b"])]), 0),
    "another reader before the ReLU": (graph(node("Relu"), outputs=("y", "a")), 1),
}


@pytest.mark.parametrize("mode", BACKWARD_MODES)
@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_stay_to_the_last_bit(case: str, mode: BackwardMode, monkeypatch: pytest.MonkeyPatch):
    proto, count = CASES[case]
    short, whole = both(proto, monkeypatch)
    assert (again(short), again(whole)) == (count, 0)
    x = torch.from_numpy(random())
    (found, gradient), (expected, slow) = slope(short, x, mode), slope(whole, x, mode)
    if mode == "smooth":  # it does not round, so that dividing and multiplying again may move the last bit
        torch.testing.assert_close(found, expected)
    else:
        assert torch.equal(found, expected)
    assert torch.equal(gradient, slow)
    assert gradient.any()


@pytest.mark.parametrize("case", CASES)
def test_it_answers_as_onnxruntime(case: str):
    proto, _ = CASES[case]
    x = random(1)
    found = Twin(proto)(torch.from_numpy(x))
    answers = found if isinstance(found, tuple) else (found,)
    for answer, expected in zip(answers, run_onnxruntime(proto, x), strict=True):
        np.testing.assert_array_equal(answer.numpy(), expected)


def test_half_precision_takes_every_step():
    """There a step, multiplied and divided again, may end at its neighbour."""
    values = {"s": np.float16(0.1), "low": np.uint8(0)}
    nodes = [*quantized("x", "s", "low", "a"), *node("Relu"), *quantized("b", "s", "low", "y")]
    half = onnx.TensorProto.FLOAT16
    proto = model(nodes, inputs={"x": [2, 3]}, initializers=values, opset=19, input_type=half, output_type=half)
    assert not again(Twin(proto))


def test_a_scale_that_can_be_learnt_keeps_both_its_quantizers():
    proto = graph(node("Relu"), s=[])
    twin = Twin(proto)
    assert not again(twin)
    scale = torch.tensor(0.1, requires_grad=True)
    x = torch.full((2, 3, 4), 100.0)  # beyond the grid, where each of the two has 255 for its slope
    answer = twin(x, scale)
    assert isinstance(answer, Tensor)
    (found,) = torch.autograd.grad(answer.sum(), scale)
    assert found == 2 * 255 * x.numel()


@pytest.mark.parametrize("mode", BACKWARD_MODES)
def test_an_exported_network_quantizes_half_as_often(
    int8_onnx: Path, digits: Dataset, mode: BackwardMode, monkeypatch: pytest.MonkeyPatch
):
    short = load_twin(int8_onnx)
    monkeypatch.setattr(program, "take_shortcuts", lambda *_: None)
    whole = load_twin(int8_onnx)
    assert again(short) >= 4
    x = torch.from_numpy(digits.test.images[:50])
    (found, gradient), (expected, slow) = slope(short, x, mode), slope(whole, x, mode)
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-6 if mode == "smooth" else 0)
    assert torch.equal(gradient, slow)
