"""Augmentations that act on a batch, one random draw per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Shift every image by up to `pixels` in both directions, filling with zeros ("pad and crop").

    Args:
        images: `[N, C, H, W]`.
        pixels: the largest shift; 0 returns the images as they are.
    """
    if pixels == 0:
        return images
    count, _, height, width = images.shape
    padded = F.pad(images, (pixels,) * 4)
    down = torch.randint(0, 2 * pixels + 1, (count, 1), device=images.device)
    right = torch.randint(0, 2 * pixels + 1, (count, 1), device=images.device)
    rows = (down + torch.arange(height, device=images.device))[:, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, :]
    batch = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2).contiguous()
