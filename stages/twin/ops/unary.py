"""Element-wise functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..backward import straight_through
from ..node import Node
from ..registry import Kernel, operator

_FUNCTIONS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Abs": (6, torch.abs),
    "Acos": (7, torch.acos),
    "Acosh": (9, torch.acosh),
    "Asin": (7, torch.asin),
    "Asinh": (9, torch.asinh),
    "Atan": (7, torch.atan),
    "Atanh": (9, torch.atanh),
    "Cos": (7, torch.cos),
    "Cosh": (9, torch.cosh),
    "Det": (11, torch.linalg.det),
    "Erf": (9, torch.erf),
    "Exp": (6, torch.exp),
    "Log": (6, torch.log),
    "Neg": (6, torch.neg),
    "Reciprocal": (6, torch.reciprocal),
    "Sigmoid": (6, torch.sigmoid),
    "Sign": (9, torch.sign),
    "Sin": (7, torch.sin),
    "Sinh": (9, torch.sinh),
    "Sqrt": (6, torch.sqrt),
    "Tan": (7, torch.tan),
    "Tanh": (6, torch.tanh),
}

# torch.round rounds halves to even, as ONNX does.
_STEPS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Ceil": (6, torch.ceil),
    "Floor": (6, torch.floor),
    "Round": (11, torch.round),
}


def _register(op_type: str, since: int, function: Callable[[Tensor], Tensor]) -> None:
    @operator(op_type, since=since)
    def build(node: Node) -> Kernel:
        return function


for _op_type, (_since, _function) in _FUNCTIONS.items():
    _register(_op_type, _since, _function)
for _op_type, (_since, _function) in _STEPS.items():
    _register(_op_type, _since, lambda x, function=_function: straight_through(x, function))


@operator("Identity", since=1)
def identity(node: Node) -> Kernel:
    """The input itself."""
    return lambda x: x


@operator("Dropout", since=7)
def dropout(node: Node) -> Kernel:
    """The input itself, and a mask that keeps everything: inference."""
    node.ignore("ratio", "seed", "is_test")
    if node.has(2):
        training = node.constant(2)
        node.require(training is not None and not bool(training), "training_mode is not implemented")
    if not node.has_output(1):
        return lambda x, *_: x
    mask_is_bool = node.opset >= 10
    return lambda x, *_: (x, torch.ones_like(x, dtype=torch.bool if mask_is_bool else x.dtype))


@operator("IsNaN", since=9, differentiable=False)
def is_nan(node: Node) -> Kernel:
    """Where the input is not a number."""
    return torch.isnan


@operator("IsInf", since=10, differentiable=False)
def is_inf(node: Node) -> Kernel:
    """Where the input is infinite, of either sign or of the sign asked for."""
    positive, negative = node.int("detect_positive", 1), node.int("detect_negative", 1)
    if positive and negative:
        return torch.isinf
    if positive:
        return torch.isposinf
    return torch.isneginf if negative else lambda x: torch.zeros_like(x, dtype=torch.bool)
