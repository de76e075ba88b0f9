"""Regions of images, another one in each image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def rectangle(images: Tensor, top: Tensor, left: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    """Return the mask `[N, 1, H, W]` of one rectangle per image; what lies outside the image is left out.

    Args:
        images: `[N, C, H, W]`.
        top: first row, integers `[N]`, which may be negative.
        left: first column, likewise.
        height: number of rows, `[N]` or one number.
        width: number of columns, likewise.
    """
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


def gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images made of the given rows and columns of each image.

    Args:
        images: `[N, C, H, W]`.
        rows: which row of the image each row of the result is, `[N, height]`.
        columns: likewise, `[N, width]`.
    """
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()
