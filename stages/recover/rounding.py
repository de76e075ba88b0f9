"""Weight rounding on the quantizer's grid, by the very rule that the twin quantizes by."""

from __future__ import annotations

import torch
from torch import Tensor

from ..twin.backward import ZeroPoint, fake_quantize, quantize
from ..twin.quantize import granularity
from ..twin.types import RANGES
from .learnable import Grid


def integers(weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """Return the whole numbers that are stored, in a float tensor."""
    return quantize(weight, *_fitted(weight, scale, grid), limits=RANGES[grid.elem_type])


def rounded(weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """Return the values that those stand for, with the gradient of the identity."""
    return fake_quantize(weight, *_fitted(weight, scale, grid), limits=RANGES[grid.elem_type], mode="identity")


def _fitted(weight: Tensor, scale: Tensor, grid: Grid) -> tuple[Tensor, ZeroPoint]:
    fit = granularity(grid.axis, grid.block)
    zero_point = torch.from_numpy(grid.zero_point.astype("float32")).to(weight.device)
    return fit(scale, weight), fit(zero_point, weight)
