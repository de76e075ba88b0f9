"""Norm of a threat model: the size of a perturbation, its ball, and what attacks must know of both."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator

from ...core.config import Listed
from ...core.registry import Registry

if TYPE_CHECKING:  # a recipe is read without torch
    from torch import Tensor

Array = np.ndarray

# So that sizes can divide.
TINY = 1e-12
# How far the search moves at first, of the ball.
_SEARCHED = 0.5


class Norm(ABC):
    """How far images are from each other; registers itself under the name that recipes and reports write.

    A subclass says at least how large a perturbation is and where a gradient points. The size may not grow when any
    pixel's change shrinks (then images rounded towards the clean ones stay in the ball), and doubles with the
    perturbation.

    Attributes:
        widest: the largest radius that makes a difference between images in [0, 1].
        autoattack: what pyautoattack calls it. Without such a name APGD and the black-box search are edgeproof's own,
            and FAB is left out.
        order: p of the p-norm whose ball is nearest to this one's, for attacks that know no other: 2, or infinity.
    """

    widest: ClassVar[float] = math.inf
    autoattack: ClassVar[Literal["Linf", "L2", "L1"] | None] = None
    order: ClassVar[float] = 2

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """How large each sample's perturbation is, `[N, C, H, W]` to `[N]`."""

    @abstractmethod
    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest ascent direction of size one for each sample's gradient, `[N, C, H, W]` to the same."""

    def moving(self, eps: str) -> str:
        """What an attack within a radius, which is given as it is written, does to an image, for sentences."""
        return f"moving it by at most {eps}"

    def clip(self, delta: Tensor, eps: float) -> Tensor:
        """Put each sample's perturbation `[N, C, H, W]` into the ball; here, by making it smaller as a whole."""
        return delta * (eps / self._divisor(delta)).clamp(max=1)

    def start(self, x: Tensor, eps: float) -> Tensor:
        """A random point of each ball around x, clipped to [0, 1]: a direction, and a radius distributed as u^(1/d)."""
        import torch

        noise = torch.randn_like(x)
        direction = noise / self._divisor(noise)
        radius = torch.rand(x.shape[0], *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device)
        return (x + eps * radius ** (1 / x[0].numel()) * direction).clamp(0, 1)

    def huge(self, shape: tuple[int, ...]) -> float:
        """The radius at which nothing can be robust: of black against white images `[C, H, W]`."""
        import torch

        return float(self.size(torch.ones(1, *shape)))

    def along_signs(self, eps: float, shape: tuple[int, ...]) -> float:
        """By how much every pixel `[C, H, W]` can change at once, in whichever direction."""
        return eps / self.huge(shape)

    def on_grid(self, eps: float) -> float:
        """The radius that perturbations of whole 1/255 steps can reach; here, the same."""
        return eps

    def proposal(self, delta: Array, chosen: Array, levels: Array, eps: float, share: float) -> Array:
        """Move perturbations to other points of the ball, for a random search.

        Args:
            delta: `[N, C, H, W]` where they are.
            chosen: `[N, 1, H, W]` booleans, the pixels that change.
            levels: `[N, C, H, W]` or `[N, C, 1, 1]` in [-1, 1], which way they go and how far.
            eps: the radius.
            share: how much of the largest change, in (0, 1].
        """
        import torch

        step = _SEARCHED * eps * share / self._reach(chosen, delta.shape[1])
        moved = (delta + chosen * step * levels).astype(np.float32)
        return self.clip(torch.from_numpy(moved), eps).numpy()

    def _reach(self, chosen: Array, channels: int) -> float:
        """The size of a change by one at all chosen pixels, on average."""
        import torch

        return float(self.size(torch.from_numpy(chosen.repeat(channels, axis=1).astype(np.float32))).mean())

    def _divisor(self, delta: Tensor) -> Tensor:
        return self.size(delta).clamp_min(TINY).view(-1, *[1] * (delta.dim() - 1))


norms: Registry[Norm] = Registry("norm", "edgeproof.stages.norms", "edgeproof.norms", instances_of=Norm)

NormName = Annotated[str, AfterValidator(norms.check), Listed(norms.names)]
