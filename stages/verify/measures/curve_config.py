"""Radii of the accuracy-over-eps curve."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from ....core.config import Config
from ...threat import ThreatModel
from ..attacks.autoattack import Attack


def _others(radii: tuple[float, ...]) -> tuple[float, ...]:
    for radius in radii:
        if radius == 1:
            raise ValueError("1 is eps itself, which is always there")
        if radii.count(radius) > 1:
            raise ValueError(f"{radius:g} is there twice")
    return tuple(sorted(radii))


class CurveConfig(Config):
    """Accuracy over eps: at which radii, by which attacks, on how many samples.

    Attributes:
        radii: multiples of eps, beside 0 and 1, which are always there.
        attacks: of AutoAttack, through the gradient that is trusted most, each on the survivors of the one before.
        samples: how many of the verified samples, a seeded draw; all where they are fewer.
    """

    radii: Annotated[tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(_others)] = Field(
        default=(0.25, 0.5, 0.75, 1.25, 1.5, 2.0), min_length=1
    )
    attacks: tuple[Attack, ...] = Field(default=("apgd-ce",), min_length=1)
    samples: int = Field(default=500, ge=1)

    def balls(self, threat: ThreatModel) -> list[ThreatModel]:
        """The other balls, smallest first; none is wider than the pixel range."""
        found = (factor * threat.eps for factor in self.radii)
        return [threat.of_radius(radius) for radius in found if radius <= threat.geometry.widest]

    def draw(self, samples: int, seed: int) -> np.ndarray:
        """Which of so many samples the curve is about: rows in order."""
        return np.sort(np.random.default_rng(seed).choice(samples, min(self.samples, samples), replace=False))
