"""Comparisons, logic and bits: they yield no gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from onnx import TensorProto
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import RANGES

_FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "And": (7, torch.logical_and),
    "BitwiseAnd": (18, torch.bitwise_and),
    "BitwiseOr": (18, torch.bitwise_or),
    "BitwiseXor": (18, torch.bitwise_xor),
    "Equal": (7, torch.eq),
    "Greater": (7, torch.gt),
    "GreaterOrEqual": (12, torch.ge),
    "Less": (7, torch.lt),
    "LessOrEqual": (12, torch.le),
    "Not": (1, torch.logical_not),
    "Or": (7, torch.logical_or),
    "Xor": (7, torch.logical_xor),
}


def _register(op_type: str, since: int, function: Callable[..., Tensor]) -> None:
    @operator(op_type, since=since, differentiable=False)
    def build(node: Node) -> Kernel:
        return function


for _op_type, (_since, _function) in _FUNCTIONS.items():
    _register(_op_type, _since, _function)


@operator("BitwiseNot", since=18, differentiable=False)
def bitwise_not(node: Node) -> Kernel:
    """Every bit turned over, within the width of the type."""
    low, high = RANGES.get(node.elem_type(0), (-1, 0))
    node.require(node.elem_type(0) != TensorProto.UINT64, "element type uint64 is not implemented")
    return torch.bitwise_not if low < 0 else lambda x: high - x


@operator("Where", since=9)
def where(node: Node) -> Kernel:
    """a where the condition holds, else b."""
    return torch.where
