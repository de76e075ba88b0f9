"""A norm of a third party: one file, which says how large a perturbation is and where a gradient points."""

from __future__ import annotations

import torch
from edgeproof.stages.norms.base import Norm
from torch import Tensor


class Tilted(Norm):
    """Linf with rows that count the less the lower they stand: the lowest may change by three times the radius."""

    @staticmethod
    def reach(like: Tensor) -> Tensor:
        """How far each row goes in a ball of radius one, `[H, 1]`."""
        return torch.linspace(1, 3, like.shape[-2], dtype=like.dtype).view(-1, 1)

    def size(self, delta: Tensor) -> Tensor:
        """The largest weighted change."""
        return (delta / self.reach(delta)).flatten(1).abs().amax(1)

    def direction(self, gradient: Tensor) -> Tensor:
        """The gradient's sign, as far as each row goes."""
        return gradient.sign() * self.reach(gradient)

    def clip(self, delta: Tensor, eps: float) -> Tensor:
        """Clip every pixel's change to its row's."""
        return torch.minimum(torch.maximum(delta, -eps * self.reach(delta)), eps * self.reach(delta))


tilted = Tilted()
