"""Per-image random numbers, from the default generator of the images' device."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen(images: Tensor, probability: float) -> Tensor:
    """Return booleans `[N]` that are each true with a probability."""
    return torch.rand(len(images), device=images.device) < probability


def below(bound: Tensor) -> Tensor:
    """Return uniform integers in [0, bound) of the shape of `bound` (integers from 1 to 2^24)."""
    # In exact arithmetic rand * bound < bound; the minimum holds against any rounding.
    return torch.minimum((torch.rand(bound.shape, device=bound.device) * bound).long(), bound - 1)


def per_image(values: Tensor) -> Tensor:
    """Return `[N]` values as `[N, 1, 1, 1]`, to be broadcast over images."""
    return values[:, None, None, None]
