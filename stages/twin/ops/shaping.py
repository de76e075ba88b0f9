"""Reshape, transpose and kin: the same elements, laid out differently."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import ints


@operator("Shape", since=1, differentiable=False)
def shape_of(node: Node) -> Kernel:
    """The shape, or a slice of it, as int64."""
    start, end = node.int("start", 0), node.int("end", None)
    return lambda x: torch.tensor(list(x.shape)[start:end], dtype=torch.int64, device=x.device)


@operator("Size", since=1, differentiable=False)
def size_of(node: Node) -> Kernel:
    """The number of elements, as int64."""
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


def _reshape(x: Tensor, shape: list[int], *, zero_is_zero: bool) -> Tensor:
    if not zero_is_zero:
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if x.numel() == 0 and -1 in shape:  # an empty batch: torch cannot tell what -1 stands for
        known = [axis for axis in range(min(len(shape), x.dim())) if shape[axis] == x.shape[axis] == 0]
        if known:
            rest = [size for size in x.shape if size != 0]
            given = [size for size in shape if size > 0]
            missing = int(torch.tensor(rest).prod()) // max(int(torch.tensor(given).prod()), 1)
            shape = [missing if size == -1 else size for size in shape]
        else:
            shape = [0 if size == -1 else size for size in shape]
    return x.reshape(shape)


@operator("Reshape", since=5)
def reshape(node: Node) -> Kernel:
    """The elements in another shape; 0 copies a dimension, -1 is worked out."""
    read = node.ints_input(1)
    zero_is_zero = bool(node.int("allowzero", 0))
    return lambda x, shape: _reshape(x, read(shape) or [], zero_is_zero=zero_is_zero)


@operator("Flatten", since=1)
def flatten(node: Node) -> Kernel:
    """Two dimensions: those before the axis, and those from it on."""
    axis = node.int("axis", 1)

    def kernel(x: Tensor) -> Tensor:
        rows, columns = 1, 1
        split = axis + x.dim() if axis < 0 else axis
        for size in x.shape[:split]:
            rows *= size
        for size in x.shape[split:]:
            columns *= size
        return x.reshape(rows, columns)

    return kernel


@operator("Squeeze", since=1)
def squeeze(node: Node) -> Kernel:
    """Without the axes named, or without all that have size 1."""
    fixed = node.ints("axes") if node.opset < 13 else None
    read = node.ints_input(1) if node.opset >= 13 else (lambda _: fixed)

    def kernel(x: Tensor, axes: Tensor | None = None) -> Tensor:
        over = read(axes)
        if over is None:
            return x.squeeze()
        for axis in over:
            if x.shape[axis] != 1:
                raise ValueError(f"axis {axis} of shape {tuple(x.shape)} cannot be squeezed")
        return x.squeeze(tuple(over))

    return kernel


@operator("Unsqueeze", since=1)
def unsqueeze(node: Node) -> Kernel:
    """With new axes of size 1; they count in the result."""
    fixed = node.ints("axes") if node.opset < 13 else None
    read = node.ints_input(1) if node.opset >= 13 else (lambda _: fixed)

    def kernel(x: Tensor, axes: Tensor | None = None) -> Tensor:
        new = read(axes) or []
        rank = x.dim() + len(new)
        for axis in sorted(axis % rank for axis in new):
            x = x.unsqueeze(axis)
        return x

    return kernel


@operator("Transpose", since=1)
def transpose(node: Node) -> Kernel:
    """Axes in another order, reversed by default."""
    order = node.ints("perm")
    return lambda x: x.permute(order if order is not None else tuple(range(x.dim()))[::-1])


@operator("Expand", since=8)
def expand(node: Node) -> Kernel:
    """Broadcast against a shape."""
    read = node.ints_input(1)
    return lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(read(shape) or ())))


@operator("Tile", since=6)
def tile(node: Node) -> Kernel:
    """Repeated along each axis."""
    return lambda x, repeats: x.repeat(ints(repeats)) if x.dim() else x


@operator("DepthToSpace", since=1)
def depth_to_space(node: Node) -> Kernel:
    """Blocks of channels become blocks of pixels."""
    block = node.int("blocksize", 1)
    depth_first = node.string("mode", "DCR", among=("DCR", "CRD")) == "DCR"

    def kernel(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        depth = c // (block * block)
        if depth_first:
            cells = x.reshape(n, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2)
        else:
            cells = x.reshape(n, depth, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
        return cells.reshape(n, depth, h * block, w * block)

    return kernel


@operator("SpaceToDepth", since=1)
def space_to_depth(node: Node) -> Kernel:
    """Blocks of pixels become blocks of channels."""
    block = node.int("blocksize", 1)
    depth_first = node.string("mode", "DCR", among=("DCR", "CRD")) == "DCR"

    def kernel(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        cells = x.reshape(n, c, h // block, block, w // block, block)
        order = (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4)
        return cells.permute(order).reshape(n, c * block * block, h // block, w // block)

    return kernel


@operator("Trilu", since=14)
def trilu(node: Node) -> Kernel:
    """Upper or lower triangle of the last two axes."""
    function = torch.triu if node.int("upper", 1) else torch.tril
    return lambda x, k=None: partial(function, diagonal=0 if k is None else int(k))(x)


@operator("Einsum", since=12)
def einsum(node: Node) -> Kernel:
    """Einstein summation."""
    equation = node.string("equation", "").replace(" ", "")
    return lambda *tensors: torch.einsum(equation, *tensors)
