"""Pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from .windows import Window, pad_spatial, read_window, symmetric

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _read(node: Node) -> tuple[list[int], Window, bool]:
    shape = node.ints("kernel_shape", [])
    node.require(len(shape) in _MAX, f"{len(shape)} spatial axes are not implemented")
    return shape, read_window(node, len(shape)), bool(node.int("ceil_mode", 0))


def _with_ceiling(
    spatial: list[int], amounts: list[tuple[int, int]], kernel: list[int], window: Window
) -> list[tuple[int, int]]:
    """`amounts`, enlarged at the end so that a partly filled last window counts (ceil_mode).

    A window that would start in the padding at the end does not count (ONNX 1.16 made this explicit).
    """
    enlarged = []
    for i, (low, high) in enumerate(amounts):
        reach = (kernel[i] - 1) * window.dilations[i] + 1
        stride = window.strides[i]
        steps = -(-(spatial[i] + low + high - reach) // stride)
        if steps * stride >= spatial[i] + low:
            steps -= 1
        enlarged.append((low, max(steps * stride + reach - spatial[i] - low, high)))
    return enlarged


@operator("MaxPool", since=1)
def max_pool(node: Node) -> Kernel:
    """Largest element of every window, and on demand its index in the flattened input."""
    shape, window, ceil = _read(node)
    rank = len(shape)
    column_major = bool(node.int("storage_order", 0))
    pool = _MAX[rank]
    simple = all(2 * low <= k for low, k in zip(window.pads, shape * 2, strict=True))

    def geometry(x: Tensor) -> list[tuple[int, int]]:
        amounts = window.amounts(x.shape[2:], shape)
        return _with_ceiling(list(x.shape[2:]), amounts, shape, window) if ceil else amounts

    def values(x: Tensor) -> Tensor:
        amounts = geometry(x)
        padding = symmetric(amounts)
        if padding is not None and simple and x.is_floating_point():
            return pool(x, shape, window.strides, padding, window.dilations)
        if x.is_floating_point():
            return pool(pad_spatial(x, amounts, float("-inf")), shape, window.strides, 0, window.dilations)
        exact = pad_spatial(x.to(torch.float64), amounts, float("-inf"))
        return pool(exact, shape, window.strides, 0, window.dilations).to(x.dtype)

    def with_indices(x: Tensor) -> tuple[Tensor, Tensor]:
        amounts = geometry(x)
        padded = pad_spatial(x if x.is_floating_point() else x.to(torch.float64), amounts, float("-inf"))
        result, flat = pool(padded, shape, window.strides, 0, window.dilations, return_indices=True)
        at = []
        for size, (low, _) in zip(reversed(padded.shape[2:]), reversed(amounts), strict=True):
            at.insert(0, flat % size - low)
            flat = flat // size
        order = list(range(rank))[::-1] if column_major else list(range(rank))
        index = torch.zeros_like(flat)
        for axis in order:
            index = index * x.shape[2 + axis] + at[axis]
        plane = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(*x.shape[:2], *[1] * rank)
        return result.to(x.dtype), index + plane * x[0, 0].numel()

    return with_indices if node.has_output(1) else values


@operator("AveragePool", since=1)
def average_pool(node: Node) -> Kernel:
    """Mean of every window, with or without the padding counted in."""
    shape, window, ceil = _read(node)
    count_padding = bool(node.int("count_include_pad", 0))
    rank = len(shape)
    plain = all(d == 1 for d in window.dilations)

    def kernel(x: Tensor) -> Tensor:
        spatial = list(x.shape[2:])
        amounts = window.amounts(spatial, shape)
        enlarged = _with_ceiling(spatial, amounts, shape, window) if ceil else amounts
        padding = symmetric(amounts)
        if (
            plain
            and enlarged == amounts
            and padding is not None
            and all(2 * p <= k for p, k in zip(padding, shape, strict=True))
        ):
            return _AVERAGE[rank](x, shape, window.strides, padding, False, count_padding)
        inside = torch.ones((1, 1, *spatial), dtype=x.dtype, device=x.device)
        if count_padding:  # what ceil_mode adds beyond the declared padding is never counted
            inside = pad_spatial(inside, amounts, 1.0)
            inside = pad_spatial(inside, [(0, e[1] - a[1]) for a, e in zip(amounts, enlarged, strict=True)])
        else:
            inside = pad_spatial(inside, enlarged)
        return _window_sum(pad_spatial(x, enlarged), shape, window) / _window_sum(inside, shape, window)

    return kernel


def _window_sum(x: Tensor, shape: list[int], window: Window) -> Tensor:
    for i, k in enumerate(shape):
        axis, dilation, stride = 2 + i, window.dilations[i], window.strides[i]
        outputs = (x.shape[axis] - (k - 1) * dilation - 1) // stride + 1
        parts = [
            x.narrow(axis, offset * dilation, (outputs - 1) * stride + 1)[
                (slice(None),) * axis + (slice(None, None, stride),)
            ]
            for offset in range(k)
        ]
        x = torch.stack(parts).sum(0)
    return x


@operator("LpPool", since=2)
def lp_pool(node: Node) -> Kernel:
    """p-norm of every window."""
    shape, window, ceil = _read(node)
    p = node.int("p", 2)

    def kernel(x: Tensor) -> Tensor:
        amounts = window.amounts(x.shape[2:], shape)
        amounts = _with_ceiling(list(x.shape[2:]), amounts, shape, window) if ceil else amounts
        return _window_sum(pad_spatial(x, amounts).abs() ** p, shape, window) ** (1 / p)

    return kernel


@operator("GlobalAveragePool", since=1)
def global_average_pool(node: Node) -> Kernel:
    """Mean over all spatial axes."""
    return lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool", since=1)
def global_max_pool(node: Node) -> Kernel:
    """Largest over all spatial axes."""
    return lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalLpPool", since=2)
def global_lp_pool(node: Node) -> Kernel:
    """p-norm over all spatial axes."""
    p = node.int("p", 2)
    return lambda x: torch.linalg.vector_norm(x, p, dim=tuple(range(2, x.dim())), keepdim=True)
