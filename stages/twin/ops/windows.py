"""Sliding windows over the spatial axes: strides, dilations and padding, as Conv and the pools spell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..node import Node


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, one number per spatial axis; empty where the node leaves it at its default."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str

    def complete(self, rank: int) -> Window:
        """This window with the defaults filled in for `rank` spatial axes."""
        if len(self.strides) == len(self.dilations) == rank and len(self.pads) == 2 * rank:
            return self
        ones = (1,) * rank
        return Window(self.strides or ones, self.dilations or ones, self.pads or (0,) * 2 * rank, self.auto_pad)

    def amounts(self, spatial: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Padding (before, after) of every spatial axis for an input of size `spatial`."""
        rank = len(spatial)
        if self.auto_pad in ("NOTSET", ""):
            return [(self.pads[i], self.pads[rank + i]) for i in range(rank)]
        if self.auto_pad == "VALID":
            return [(0, 0)] * rank
        amounts = []
        for size, k, stride, dilation in zip(spatial, kernel, self.strides, self.dilations, strict=True):
            outputs = -(-size // stride)
            whole = max((outputs - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            small, large = whole // 2, whole - whole // 2
            amounts.append((small, large) if self.auto_pad == "SAME_UPPER" else (large, small))
        return amounts


def read_window(node: Node, rank: int | None) -> Window:
    """The window in the node's attributes; `rank` spatial axes where that is known."""
    auto_pad = node.string("auto_pad", "NOTSET", among=("NOTSET", "", "SAME_UPPER", "SAME_LOWER", "VALID"))
    strides, dilations, pads = node.ints("strides", []), node.ints("dilations", []), node.ints("pads", [])
    window = Window(tuple(strides), tuple(dilations), tuple(pads), auto_pad)
    if rank is None:
        return window
    node.require(
        len(strides) in (0, rank) and len(dilations) in (0, rank) and len(pads) in (0, 2 * rank),
        "strides, dilations or pads do not match the kernel's rank",
    )
    return window.complete(rank)


def symmetric(amounts: Sequence[tuple[int, int]]) -> tuple[int, ...] | None:
    """One number per axis where both sides are padded alike, else None."""
    return tuple(low for low, _ in amounts) if all(low == high for low, high in amounts) else None


def pad_spatial(x: Tensor, amounts: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """`x` padded along its last axes."""
    flat = [amount for pair in reversed(amounts) for amount in pair]
    return F.pad(x, flat, value=value) if any(flat) else x
