"""Reductions over axes, and arg-max."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator

Reducer = Callable[[Tensor, list[int], bool], Tensor]


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    count = torch.tensor([x.shape[axis] for axis in axes]).prod()
    return torch.div(x.sum(axes, keepdim=keep), count, rounding_mode="trunc").to(x.dtype)


def _extremum(x: Tensor, axes: list[int], keep: bool, *, largest: bool) -> Tensor:
    """amax or amin, where an empty axis yields the type's least or greatest value."""
    if x.numel() == 0:
        if x.is_floating_point():
            fill = float("-inf" if largest else "inf")
        elif x.dtype == torch.bool:
            fill = not largest
        else:
            fill = torch.iinfo(x.dtype).min if largest else torch.iinfo(x.dtype).max
        return x.new_full(x.sum(axes, keepdim=keep).shape, fill)
    return (torch.amax if largest else torch.amin)(x, axes, keepdim=keep)


def _l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if not x.is_floating_point():
        return (x * x).sum(axes, keepdim=keep).to(torch.float64).sqrt().to(x.dtype)
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keep)


_REDUCERS: dict[str, Reducer] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceL2": _l2,
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: _extremum(x, axes, keep, largest=True),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes, keep: _extremum(x, axes, keep, largest=False),
    "ReduceProd": _prod,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep, dtype=x.dtype),
}


@operator(*_REDUCERS, since=1)
def reduce(node: Node) -> Kernel:
    """A reduction over axes, all of them by default.

    The axes are an attribute before opset 18 (before 13 for ReduceSum) and an input since.
    """
    reducer = _REDUCERS[node.op_type]
    keep = bool(node.int("keepdims", 1))
    since = 13 if node.op_type == "ReduceSum" else 18
    fixed = None if node.opset >= since else node.ints("axes")
    read = node.ints_input(1) if node.opset >= since else (lambda _: fixed)
    pass_through = bool(node.int("noop_with_empty_axes", 0)) if node.opset >= since else False
    # Without axes to reduce over, each element is still reduced by itself.
    alone = {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}

    def kernel(x: Tensor, axes: Tensor | None = None) -> Tensor:
        over = read(axes)
        if not over:
            if pass_through:
                return reducer(x[None], [0], False) if node.op_type in alone else x
            over = list(range(x.dim()))
        if x.dim() == 0:
            return reducer(x[None], [0], False)
        return reducer(x, over, keep)

    return kernel


@operator("ArgMax", "ArgMin", since=1, differentiable=False)
def arg_extremum(node: Node) -> Kernel:
    """Index of the largest or smallest element along an axis; of several, the first or the last."""
    function = torch.argmax if node.op_type == "ArgMax" else torch.argmin
    axis, keep, last = (
        node.int("axis", 0),
        bool(node.int("keepdims", 1)),
        bool(node.int("select_last_index", 0)),
    )

    def kernel(x: Tensor) -> Tensor:
        if not last:
            return function(x, axis, keepdim=keep)
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)

    return kernel
