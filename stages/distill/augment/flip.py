"""Horizontal flips."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import chosen, per_image
from .operation import Probability, operation


@operation("flip", Probability(0.5))
def random_flip(images: Tensor, probability: float = 0.5) -> Tensor:
    """Mirror images left to right, each with a probability."""
    return torch.where(per_image(chosen(images, probability)), images.flip(3), images)
