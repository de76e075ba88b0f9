"""Gather, slice, concatenate and pad."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import as_index, ints


def wrapped(indices: Tensor, size: int) -> Tensor:
    """Indices as int64, negative ones counted from the end."""
    indices = as_index(indices)
    return torch.where(indices < 0, indices + size, indices)


@operator("Gather", since=1)
def gather(node: Node) -> Kernel:
    """Slices along an axis, by index; the index's shape takes the axis's place."""
    axis = node.int("axis", 0)
    known = node.constant(1)
    if known is not None and known.numel() == 1 and known.dim() == 0:
        index = int(known)
        return lambda x, _: x.select(axis, index)

    def kernel(x: Tensor, indices: Tensor) -> Tensor:
        dim = axis % x.dim()
        picked = x.index_select(dim, wrapped(indices, x.shape[dim]).reshape(-1))
        return picked.reshape(x.shape[:dim] + indices.shape + x.shape[dim + 1 :])

    return kernel


@operator("GatherElements", since=11)
def gather_elements(node: Node) -> Kernel:
    """Elements along an axis, one index per element."""
    axis = node.int("axis", 0)
    return lambda x, indices: x.gather(axis, wrapped(indices, x.shape[axis]))


@operator("GatherND", since=11)
def gather_nd(node: Node) -> Kernel:
    """Slices by tuples of indices, after some batch axes."""
    batch = node.int("batch_dims", 0)

    def kernel(x: Tensor, indices: Tensor) -> Tensor:
        depth = indices.shape[-1]
        lead = x.shape[:batch]
        rows = math.prod(lead)
        flat = x.reshape(rows, *x.shape[batch:])
        tuples = as_index(indices).reshape(rows, -1, depth)
        at = [wrapped(tuples[..., i], x.shape[batch + i]) for i in range(depth)]
        row = torch.arange(rows, device=x.device)[:, None].expand(rows, tuples.shape[1])
        return flat[(row, *at)].reshape(*indices.shape[:-1], *x.shape[batch + depth :])

    return kernel


_SCATTER = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", "Scatter", since=9)
def scatter_elements(node: Node) -> Kernel:
    """The input with elements along an axis replaced by, or combined with, updates."""
    axis = node.int("axis", 0)
    how = node.string("reduction", "none", among=("none", *_SCATTER))

    def kernel(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        index = wrapped(indices, x.shape[axis])
        if how == "none":
            return x.scatter(axis, index, updates)
        return x.scatter_reduce(axis, index, updates, _SCATTER[how])

    return kernel


@operator("ScatterND", since=11)
def scatter_nd(node: Node) -> Kernel:
    """The input with slices replaced by, or combined with, updates."""
    how = node.string("reduction", "none", among=("none", *_SCATTER))

    def kernel(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        depth = indices.shape[-1]
        inner = math.prod(x.shape[depth:])
        row = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
        for i in range(depth):
            row = row * x.shape[i] + wrapped(indices[..., i], x.shape[i])
        index = (row.reshape(-1, 1) * inner + torch.arange(inner, device=x.device)).reshape(-1)
        flat, new = x.reshape(-1), updates.reshape(-1)
        if how == "none":
            return flat.scatter(0, index, new).reshape(x.shape)
        return flat.scatter_reduce(0, index, new, _SCATTER[how]).reshape(x.shape)

    return kernel


@operator("Slice", since=1)
def cut(node: Node) -> Kernel:
    """From starts to ends by steps, along axes. Attributes before opset 10, inputs since."""
    if node.opset < 10:
        starts, ends, axes = node.ints("starts", []), node.ints("ends", []), node.ints("axes")
        return lambda x: _slice(x, starts, ends, axes, None)
    read = [node.ints_input(index) for index in range(1, 5)]

    def kernel(
        x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        given = [reader(tensor) for reader, tensor in zip(read, (starts, ends, axes, steps), strict=True)]
        return _slice(x, given[0] or [], given[1] or [], given[2], given[3])

    return kernel


def _slice(x: Tensor, starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None) -> Tensor:
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[i] if axes is not None else i
        step = steps[i] if steps is not None else 1
        low, high, stride = slice(start, end, step).indices(x.shape[axis])
        count = len(range(low, high, stride))
        if count == x.shape[axis] and stride == 1:
            continue
        if stride > 0:
            x = x.narrow(axis, min(low, x.shape[axis]), 0) if not count else _forward(x, axis, low, high, stride)
        else:  # torch knows no negative steps
            x = x.index_select(axis, torch.arange(low, low + stride * count, stride, device=x.device))
    return x


def _forward(x: Tensor, axis: int, low: int, high: int, stride: int) -> Tensor:
    part = x.narrow(axis, low, high - low)
    if stride == 1:
        return part
    return part[(slice(None),) * (axis % x.dim()) + (slice(None, None, stride),)]


@operator("Split", since=2)
def split(node: Node) -> Kernel:
    """Parts along an axis: of the sizes given, or as equal as possible with a smaller last one."""
    axis = node.int("axis", 0)
    count = node.outputs
    fixed = node.ints("split") if node.opset < 13 else None
    read = node.ints_input(1) if node.opset >= 13 else (lambda _: fixed)
    if node.opset >= 18:
        count = node.int("num_outputs", count)

    def kernel(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        given = read(sizes)
        if given is None:
            each = -(-x.shape[axis] // count)
            given = [max(min(each, x.shape[axis] - each * i), 0) for i in range(count)]
        return x.split(given, axis)

    return kernel


@operator("Concat", since=4)
def concat(node: Node) -> Kernel:
    """Joined along an axis."""
    axis = node.int("axis", 0)
    return lambda *tensors: torch.cat(tensors, axis)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad", since=2)
def pad(node: Node) -> Kernel:
    """Padded, or cropped by negative amounts. Pads and value are attributes before opset 11, inputs since."""
    mode = node.string("mode", "constant", among=tuple(_PAD_MODES))
    if node.opset < 11:
        pads, value = node.ints("pads", []), node.float("value", 0.0)
        return lambda x: _pad(x, pads, list(range(x.dim())), mode, value)
    read_pads, read_axes = node.ints_input(1), node.ints_input(3)

    def kernel(x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
        over = read_axes(axes)
        fill = 0 if value is None or value.numel() == 0 else value.item()
        return _pad(x, read_pads(pads) or [], list(range(x.dim())) if over is None else over, mode, fill)

    return kernel


def _pad(x: Tensor, pads: list[int], axes: list[int], mode: str, value: float) -> Tensor:
    before = {axis % x.dim(): pads[i] for i, axis in enumerate(axes)}
    after = {axis % x.dim(): pads[len(axes) + i] for i, axis in enumerate(axes)}
    if mode == "constant":
        amounts = [p for axis in reversed(range(x.dim())) for p in (before.get(axis, 0), after.get(axis, 0))]
        return F.pad(x, amounts, value=value)
    # torch pads the last axes only, and not every type: an index per axis does all modes, and keeps the gradient.
    for axis, ahead in before.items():
        if ahead or after[axis]:
            size = x.shape[axis]
            at = torch.arange(-ahead, size + after[axis], device=x.device)
            if mode == "edge":
                at = at.clamp(0, size - 1)
            elif mode == "wrap":
                at = at.remainder(size)
            else:
                period = max(2 * (size - 1), 1)
                at = at.remainder(period)
                at = torch.where(at >= size, period - at, at)
            x = x.index_select(axis, at)
    return x


@operator("TopK", since=1)
def top_k(node: Node) -> Kernel:
    """The k largest or smallest along an axis, and where they stand; equal ones in order of their index."""
    axis = node.int("axis", -1)
    largest, in_order = bool(node.int("largest", 1)), bool(node.int("sorted", 1))
    fixed = node.int("k", 0) if node.opset < 10 else None

    def kernel(x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        count = fixed if k is None or fixed is not None else int(k)
        order = torch.sort(x, dim=axis, descending=largest, stable=True).indices.narrow(axis, 0, count or 0)
        if not in_order:
            order = order.sort(dim=axis).values
        return x.gather(axis, order), order

    return kernel


@operator("NonZero", since=9, differentiable=False)
def non_zero(node: Node) -> Kernel:
    """Indices of the elements that are not 0, one row per axis."""
    return lambda x: torch.nonzero(x).T


@operator("Compress", since=9)
def compress(node: Node) -> Kernel:
    """The slices along an axis, or the elements, for which the condition holds."""
    axis = node.int("axis", None)

    def kernel(x: Tensor, condition: Tensor) -> Tensor:
        return (x.reshape(-1) if axis is None else x).index_select(axis or 0, torch.nonzero(condition).reshape(-1))

    return kernel


@operator("OneHot", since=9, differentiable=False)
def one_hot(node: Node) -> Kernel:
    """On where the new axis's index equals the input, else off; out of range is off everywhere."""
    axis = node.int("axis", -1)

    def kernel(indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
        count = ints(depth)[0]
        index = as_index(indices)
        index = torch.where(index < 0, index + count, index)
        dim = axis % (index.dim() + 1)
        shape = [1] * (index.dim() + 1)
        shape[dim] = count
        hit = index.unsqueeze(dim) == torch.arange(count, device=index.device).reshape(shape)
        return torch.where(hit, values[1], values[0])

    return kernel


@operator("CumSum", since=11)
def cumulative_sum(node: Node) -> Kernel:
    """Running sum along an axis, with or without the element itself, from either end."""
    exclusive, reverse = node.int("exclusive", 0), node.int("reverse", 0)

    def kernel(x: Tensor, axis: Tensor) -> Tensor:
        dim = ints(axis)[0]
        if reverse:
            x = x.flip(dim)
        total = x.cumsum(dim, dtype=x.dtype)
        if exclusive:
            total = total - x
        return total.flip(dim) if reverse else total

    return kernel


@operator("ReverseSequence", since=10)
def reverse_sequence(node: Node) -> Kernel:
    """The first `length` entries of every sequence, reversed."""
    batch_axis, time_axis = node.int("batch_axis", 1), node.int("time_axis", 0)

    def kernel(x: Tensor, lengths: Tensor) -> Tensor:
        moved = x.movedim((batch_axis, time_axis), (0, 1))
        step = torch.arange(moved.shape[1], device=x.device)
        length = as_index(lengths)[:, None]
        at = torch.where(step < length, length - 1 - step, step)
        rows = torch.arange(moved.shape[0], device=x.device)[:, None]
        return moved[rows, at].movedim((0, 1), (batch_axis, time_axis))

    return kernel
