"""Arithmetic operators of several tensors, and clipping."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from ..backward import clip as clip_to
from ..backward import straight_through
from ..node import Node
from ..registry import Kernel, operator
from ..types import INTEGERS


def _is_integer(node: Node) -> bool:
    return node.elem_type(0) in INTEGERS


@operator("Add", since=7)
def add(node: Node) -> Kernel:
    """a + b."""
    return torch.add


@operator("Sub", since=7)
def sub(node: Node) -> Kernel:
    """a - b."""
    return torch.sub


@operator("Mul", since=7)
def mul(node: Node) -> Kernel:
    """a * b."""
    return torch.mul


@operator("Div", since=7)
def div(node: Node) -> Kernel:
    """a / b; of integers, truncated towards 0 (identity gradient for the truncation)."""
    if not _is_integer(node):
        return torch.div

    def truncated(a: Tensor, b: Tensor) -> Tensor:
        if a.is_floating_point() or b.is_floating_point():
            return straight_through(a / b, torch.trunc)
        return torch.div(a, b, rounding_mode="trunc")

    return truncated


@operator("Mod", since=10)
def mod(node: Node) -> Kernel:
    """The remainder with the divisor's sign, or with the dividend's (fmod)."""
    return torch.fmod if node.int("fmod", 0) else torch.remainder


@operator("Pow", since=7)
def power(node: Node) -> Kernel:
    """a to the power b, in the type of a."""
    exponent = node.constant(1)
    if exponent is not None and exponent.numel() == 1 and exponent.dim() == 0:
        number = exponent.item()
        return lambda a, b: torch.pow(a, number).to(a.dtype)
    return lambda a, b: torch.pow(a, b).to(a.dtype)


@operator("Sum", since=8)
def total(node: Node) -> Kernel:
    """Sum of any number of tensors, which broadcast."""
    return lambda *tensors: reduce(torch.add, tensors)


@operator("Mean", since=8)
def mean(node: Node) -> Kernel:
    """Mean of any number of tensors, which broadcast."""
    return lambda *tensors: reduce(torch.add, tensors) / len(tensors)


# torch.maximum halves the gradient at a tie. Against a value without a gradient (a ReLU written as Max(x, 0)) all of it
# belongs to the other side: a black pixel is a tie. The comparisons let NaN through from either side.
def _larger(x: Tensor, fixed: Tensor) -> Tensor:
    return torch.where((x < fixed) | fixed.isnan(), fixed, x)


def _smaller(x: Tensor, fixed: Tensor) -> Tensor:
    return torch.where((x > fixed) | fixed.isnan(), fixed, x)


@operator("Max", "Min", since=8)
def extremum(node: Node) -> Kernel:
    """Largest or smallest of any number of tensors, which broadcast."""
    both, onesided = (torch.maximum, _larger) if node.op_type == "Max" else (torch.minimum, _smaller)
    live = [index for index in range(len(node.inputs)) if node.live(index)]
    fixed = [index for index in range(len(node.inputs)) if not node.live(index)]

    def kernel(*tensors: Tensor) -> Tensor:
        if not live:
            return reduce(both, tensors)
        result = reduce(both, [tensors[index] for index in live])
        return reduce(onesided, [tensors[index] for index in fixed], result)

    return kernel


@operator("Clip", since=6)
def clip(node: Node) -> Kernel:
    """x in [min, max]; the gradient is 1 at the bounds. Attributes before opset 11, inputs since."""
    if node.opset < 11:
        low, high = node.float("min", None), node.float("max", None)
        return _by_numbers(low, high)
    bounds = [node.constant(1), node.constant(2)]
    if all(bound is not None or not node.has(index) for index, bound in enumerate(bounds, start=1)):
        return _by_numbers(*(None if bound is None else bound.item() for bound in bounds))

    def dynamic(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        x = x if low is None else _larger(x, low)
        return x if high is None else _smaller(x, high)

    return dynamic


def _by_numbers(low: float | None, high: float | None) -> Kernel:
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: clip_to(x, low, high)
