"""Sampling on grids: spatial transformers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import ints

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


@operator("GridSample", since=16)
def grid_sample(node: Node) -> Kernel:
    """The input at the places that a grid of coordinates in [-1, 1] names."""
    default = "bilinear" if node.opset < 20 else "linear"
    mode = _MODES[node.string("mode", default, among=tuple(_MODES))]
    padding = node.string("padding_mode", "zeros", among=("zeros", "border", "reflection"))
    align = bool(node.int("align_corners", 0))
    return lambda x, grid: F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=align)


@operator("AffineGrid", since=20)
def affine_grid(node: Node) -> Kernel:
    """The grid of coordinates of an affine map."""
    align = bool(node.int("align_corners", 0))

    def kernel(theta: Tensor, size: Tensor) -> Tensor:
        return F.affine_grid(theta, ints(size), align_corners=align)

    return kernel
