"""Convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from .fixed_weights import FixedConv2d
from .windows import Window, pad_spatial, read_window, symmetric

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def kernel_rank(node: Node, weight: int = 1) -> int | None:
    """Number of spatial axes where the kernel's shape or another attribute tells it; refuses more than 3."""
    rank = _kernel_rank(node, weight)
    node.require(rank is None or rank in _CONV, f"{rank} spatial axes are not implemented")
    return rank


def _kernel_rank(node: Node, weight: int) -> int | None:
    shape = node.ints("kernel_shape")
    if shape:
        return len(shape)
    known = node.constant(weight)
    if known is not None:
        return known.dim() - 2
    for name, per_axis in (("strides", 1), ("dilations", 1), ("pads", 2)):
        values = node.ints(name)
        if values:
            return len(values) // per_axis
    return None


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> Tensor:
    """Convolution of 1 to 3 spatial axes, padded differently on both sides where asked."""
    window = window.complete(x.dim() - 2)
    amounts = window.amounts(x.shape[2:], weight.shape[2:])
    padding = symmetric(amounts)
    if padding is None:
        x, padding = pad_spatial(x, amounts), (0,) * len(amounts)
    return _CONV[len(amounts)](x, weight, bias, window.strides, padding, window.dilations, groups)


@operator("Conv", since=1)
def conv(node: Node) -> Kernel:
    """Convolution of 1 to 3 spatial axes, with groups and dilations."""
    window, groups = read_window(node, kernel_rank(node)), node.int("group", 1)

    def kernel(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(x, weight, bias, window, groups)

    if node.constant(1) is None or len(window.strides) != 2:
        return kernel
    dense = groups == 1 and max(window.strides) == max(window.dilations) == 1
    explicit = dense and window.auto_pad in ("NOTSET", "") and window.pads[:2] == window.pads[2:]
    return FixedConv2d(kernel, (window.pads[0], window.pads[1]) if explicit else None)


def _crop(
    window: Window, spatial: list[int], kernel: list[int], extra: list[int], wanted: list[int] | None
) -> list[tuple[int, int]]:
    """What to cut from the full transposed convolution on both sides of every axis; less than 0 adds zeros."""
    rank = len(spatial)
    if wanted is None and window.auto_pad in ("NOTSET", ""):
        return [(window.pads[i], window.pads[rank + i] - extra[i]) for i in range(rank)]
    if wanted is None and window.auto_pad == "VALID":
        return [(0, -extra[i]) for i in range(rank)]
    amounts = []
    for i, size in enumerate(spatial):
        full = window.strides[i] * (size - 1) + (kernel[i] - 1) * window.dilations[i] + 1
        target = wanted[i - rank] if wanted is not None else size * window.strides[i]
        whole = max(full + extra[i] - target, 0)
        low = whole // 2 if window.auto_pad == "SAME_UPPER" else whole - whole // 2
        amounts.append((low, full - target - low))
    return amounts


@operator("ConvTranspose", since=1)
def conv_transpose(node: Node) -> Kernel:
    """Transposed convolution; the padding may follow from the output's shape."""
    declared, groups = read_window(node, kernel_rank(node)), node.int("group", 1)
    output_padding, wanted = node.ints("output_padding"), node.ints("output_shape")

    def kernel(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rank = x.dim() - 2
        window = declared.complete(rank)
        extra = output_padding or [0] * rank
        function = _CONV_TRANSPOSE[rank]
        crop = _crop(window, list(x.shape[2:]), list(weight.shape[2:]), extra, wanted)
        padding = symmetric([(low, high + e) for (low, high), e in zip(crop, extra, strict=True)])
        limits = zip(extra, window.strides, window.dilations, strict=True)
        if padding is not None and min(padding) >= 0 and all(e < max(s, d) for e, s, d in limits):
            return function(x, weight, bias, window.strides, padding, extra, groups, window.dilations)
        full = function(x, weight, None, window.strides, 0, 0, groups, window.dilations)
        full = pad_spatial(full, [(-low, -high) for low, high in crop])
        return full if bias is None else full + bias.reshape(-1, *[1] * rank)

    return kernel
