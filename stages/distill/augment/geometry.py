"""Shearing and rotation about the centre, by another strength in each image: nearest pixel, black outside.

They compute what torchvision's `affine` and `rotate` compute, for a batch of strengths.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shear(images: Tensor, along_x: Tensor, along_y: Tensor) -> Tensor:
    """Shear by angles in radians, `[N]` each; one of the two is zero in every image."""
    one = torch.ones_like(along_x)
    return _warp(images, [[one, along_x.tan()], [along_y.tan(), one]])


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise by `[N]` degrees."""
    angle = degrees.deg2rad()
    return _warp(images, [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])


def _warp(images: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Take every pixel from where its image's matrix puts it; coordinates are pixels from the image's centre."""
    height, width = images.shape[2:]
    (xx, xy), (yx, yy) = [[entry.to(images.dtype)[:, None, None] for entry in row] for row in matrix]
    x = torch.arange(width, dtype=images.dtype, device=images.device)[None, None, :] - (width - 1) / 2
    y = torch.arange(height, dtype=images.dtype, device=images.device)[None, :, None] - (height - 1) / 2
    grid = torch.stack([(xx * x + xy * y) / (width / 2), (yx * x + yy * y) / (height / 2)], dim=-1)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)
