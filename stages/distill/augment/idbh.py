"""IDBH: improved diversity and balanced hardness.

Source: Li & Spratling, "Data Augmentation Alone Can Improve Adversarial Training", ICLR 2023 (arXiv 2301.09879);
official code: github.com/TreeLLi/DA-Alone-Improves-AT, where the two are `cifar10-weak` and `cifar10-strong`.
"""

from __future__ import annotations

from torch import Tensor

from .colorshape import random_colorshape
from .cropshift import default_size, random_cropshift
from .erase import random_erase
from .flip import random_flip
from .operation import operation


@operation("idbh_weak")
def idbh_weak(images: Tensor) -> Tensor:
    """Flip, CropShift(0, 11), ColorShape, and erasing with probability 1/2.

    For images that are not 32 x 32, CropShift's bound is in proportion to the side: this is ours.
    """
    return _idbh(images, erasing=0.5)


@operation("idbh_strong")
def idbh_strong(images: Tensor) -> Tensor:
    """As `idbh_weak`, but every image is erased."""
    return _idbh(images, erasing=1.0)


def _idbh(images: Tensor, erasing: float) -> Tensor:
    images = random_cropshift(random_flip(images), default_size(min(images.shape[2:])))
    return random_erase(random_colorshape(images), erasing)
