"""CropShift: a random part of the image at a random place on a black canvas.

Source: Li & Spratling, "Data Augmentation Alone Can Improve Adversarial Training", ICLR 2023 (arXiv 2301.09879);
official code: github.com/TreeLLi/DA-Alone-Improves-AT (src/data/idbh.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import below
from .operation import Pixels, operation
from .region import gather, rectangle


def default_size(side: int) -> int:
    """Return 11 for 32 x 32 images, the official setting, and in proportion for others."""
    return 1 + round(10 * side / 32)


@operation("cropshift", Pixels(default_size))
def random_cropshift(images: Tensor, size: int) -> Tensor:
    """Cut every image to a random rectangle, and place that at random on a black canvas of the image's size.

    As in the official CropShift(0, size), whose upper bound is not reached: `strength` lines are cut away in all,
    strength uniform in 0 ... size - 1; of these, x columns with x uniform in 0 ... strength, and strength - x rows;
    where the rectangle is taken from and where it goes are uniform and independent. The distribution is the
    official one; the stream of random numbers is ours.

    Args:
        images: `[N, C, H, W]`.
        size: one more than the largest number of lines cut away, at least 1, at most the shorter side.
    """
    count, _, height, width = images.shape
    strength = torch.randint(0, size, (count,), device=images.device)
    cut_columns = below(strength + 1)
    cut_rows = strength - cut_columns
    from_row, to_row = below(cut_rows + 1), below(cut_rows + 1)
    from_column, to_column = below(cut_columns + 1), below(cut_columns + 1)
    rows = torch.arange(height, device=images.device) + (from_row - to_row)[:, None]
    columns = torch.arange(width, device=images.device) + (from_column - to_column)[:, None]
    moved = gather(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    kept = rectangle(images, to_row, to_column, height - cut_rows, width - cut_columns)
    return moved.masked_fill(~kept, 0)
