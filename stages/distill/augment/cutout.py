"""Cutout: one black square.

Source: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017
(arXiv 1708.04552); official code: github.com/uoguelph-mlrg/Cutout (util/cutout.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .operation import Pixels, operation
from .region import rectangle


# 16 for 32 x 32 images is the official setting for CIFAR-10; for CIFAR-100 it is 8.
@operation("cutout", Pixels(default=lambda side: side // 2))
def random_cutout(images: Tensor, size: int) -> Tensor:
    """Blacken a square of `size` x `size` pixels in every image, centred on a uniformly drawn pixel.

    The square is cut off at the image's edge, as in the official code. There an odd size acts like the even one
    below it; here it counts as it is.
    """
    count, _, height, width = images.shape
    top = torch.randint(0, height, (count,), device=images.device) - size // 2
    left = torch.randint(0, width, (count,), device=images.device) - size // 2
    return images.masked_fill(rectangle(images, top, left, size, size), 0)
