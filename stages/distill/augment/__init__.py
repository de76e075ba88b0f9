"""Augmentations that act on a whole batch, with one random draw per image, on the images' own device.

Every operation maps float images in [0, 1], `[N, C, H, W]`, to new ones of the same shape, dtype and device, in [0, 1];
it never changes its input. Numbers are drawn only from torch's default generator of the images' device, so
`torch.manual_seed` makes an augmented batch repeatable.
"""

from .chain import Augmentation, Augmentations, LateAugment, compose
from .operation import operations
from .shift import random_shift

__all__ = ["Augmentation", "Augmentations", "LateAugment", "compose", "operations", "random_shift"]
