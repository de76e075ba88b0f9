"""Random shifts, also known as pad-and-crop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .operation import Pixels, operation
from .region import gather


# The usual 4 pixels for 32 x 32 images, in proportion for others.
@operation("shift", Pixels(default=lambda side: round(side / 8), least=0))
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
    rows = down + torch.arange(height, device=images.device)
    columns = right + torch.arange(width, device=images.device)
    return gather(padded, rows, columns)
