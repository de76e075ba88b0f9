"""Linf: the largest change of a pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..eight_bit import whole_steps
from .base import Array, Norm, norms

if TYPE_CHECKING:
    from torch import Tensor


class Linf(Norm):
    """The largest change of a pixel, in pixels of [0, 1]."""

    widest = 1.0
    autoattack = "Linf"
    order = math.inf

    def size(self, delta: Tensor) -> Tensor:
        """The largest absolute value of each sample."""
        return delta.flatten(1).abs().amax(1)

    def direction(self, gradient: Tensor) -> Tensor:
        """The gradient's sign."""
        return gradient.sign()

    def moving(self, eps: str) -> str:
        """Pixel by pixel."""
        return f"moving each pixel by at most {eps}"

    def clip(self, delta: Tensor, eps: float) -> Tensor:
        """Clip every pixel's change."""
        return delta.clamp(-eps, eps)

    def start(self, x: Tensor, eps: float) -> Tensor:
        """Uniform in the ball, clipped to [0, 1]."""
        import torch

        return (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)

    def huge(self, shape: tuple[int, ...]) -> float:
        """One: every image is in the ball."""
        return 1.0

    def on_grid(self, eps: float) -> float:
        """The whole 1/255 steps in it."""
        return whole_steps(eps)

    def proposal(self, delta: Array, chosen: Array, levels: Array, eps: float, share: float) -> Array:
        """Set the chosen pixels to levels of the ball: none takes away what others may change."""
        return np.where(chosen, eps * levels, delta).astype(np.float32)


norms.register("Linf")(Linf())
