"""L2: the Euclidean length of a perturbation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .base import TINY, Array, Norm, norms

if TYPE_CHECKING:
    from torch import Tensor


class L2(Norm):
    """The root of the sum of all pixels' squared changes."""

    autoattack = "L2"

    def size(self, delta: Tensor) -> Tensor:
        """The length of each sample; at least 1e-12."""
        return delta.flatten(1).norm(dim=1).clamp_min(TINY)

    def direction(self, gradient: Tensor) -> Tensor:
        """The gradient, scaled to length one."""
        return gradient / self._divisor(gradient)

    def moving(self, eps: str) -> str:
        """As a whole."""
        return f"moving it by at most {eps} in Euclidean distance"

    def huge(self, shape: tuple[int, ...]) -> float:
        """The root of the number of values."""
        return float(math.prod(shape)) ** 0.5

    def _reach(self, chosen: Array, channels: int) -> float:
        return np.sqrt(channels * chosen.reshape(len(chosen), -1).sum(1).mean())


norms.register("L2")(L2())
