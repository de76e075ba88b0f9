"""MOVER: the interval of a difference from the intervals of both."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from statistics import NormalDist

from .proportions import LEVEL


@dataclass(frozen=True)
class Change:
    """How far one estimate lies from another, by their own intervals.

    Method of variance estimates recovery: Zou and Donner, Statistics in Medicine 27:1693-1702, 2008; for two shares it
    is Newcombe's hybrid interval (Statistics in Medicine 17:873-890, 1998). It takes the estimates for independent; of
    the same samples, which tend to err alike, it is too wide and so careful.

    Attributes:
        difference: second minus first.
        down: how far the interval of `LEVEL`, as both inputs have, reaches below.
        up: how far above.
    """

    difference: float
    down: float
    up: float

    @classmethod
    def between(
        cls, first: float, first_ci: tuple[float, float], second: float, second_ci: tuple[float, float]
    ) -> Change:
        """Combine two estimates and their intervals, both of `LEVEL`."""
        return cls(
            second - first,
            hypot(second - second_ci[0], first_ci[1] - first),
            hypot(second_ci[1] - second, first - first_ci[0]),
        )

    def interval(self, level: float) -> tuple[float, float]:
        """The interval of another level, as if both sides were normal."""
        unit = NormalDist()
        factor = unit.inv_cdf((1 + level) / 2) / unit.inv_cdf((1 + LEVEL) / 2)
        return self.difference - factor * self.down, self.difference + factor * self.up

    def p_above(self, limit: float) -> float:
        """One-sided p-value that the second lies more than `limit` above the first."""
        return self._tail(self.difference - limit, self.down)

    def p_below(self, limit: float) -> float:
        """One-sided p-value that the second lies less than `limit` above the first."""
        return self._tail(limit - self.difference, self.up)

    def _tail(self, beyond: float, reach: float) -> float:
        if reach == 0:
            return float(beyond <= 0)
        unit = NormalDist()
        return unit.cdf(-beyond * unit.inv_cdf((1 + LEVEL) / 2) / reach)
