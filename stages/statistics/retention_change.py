"""Change of retention: how much less an engine keeps of its student than another engine kept of its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class RetentionChange:
    """The difference of two retentions on the same samples.

    Attributes:
        difference: second minus first.
        centre: the same with the two added samples; the interval lies around it.
        error: its standard error.
        samples: of how many.
    """

    difference: float
    centre: float
    error: float
    samples: int

    def interval(self, level: float) -> tuple[float, float]:
        """The interval of a level."""
        reach = NormalDist().inv_cdf((1 + level) / 2) * self.error
        return self.centre - reach, self.centre + reach

    def p_lost(self, margin: float) -> float:
        """One-sided p-value that more than `margin` is lost."""
        return NormalDist().cdf((self.centre + margin) / self.error)


def retention_change(
    first_student: np.ndarray, first_engine: np.ndarray, second_student: np.ndarray, second_engine: np.ndarray
) -> RetentionChange | None:
    """Compare two retentions, engine over student, that were measured on the same samples.

    The delta method for a difference of two ratios, all four from the same samples. Where next to nothing differs its
    standard error is too small, so that two samples are added, one that the engine lost since and one that it gained,
    as Bonett and Price do for paired proportions (British Journal of Mathematical and Statistical Psychology
    65:479-488, 2012).

    Args:
        first_student: robust bits of the first student, bool [N].
        first_engine: of its engine; the other two likewise, the same samples in the same order.
        second_student: of the second student.
        second_engine: of its engine.

    Returns:
        None where a student keeps no sample, so that there is nothing to retain.
    """
    if not first_student.any() or not second_student.any():
        return None
    plain = second_engine.sum() / second_student.sum() - first_engine.sum() / first_student.sum()
    bits = np.array([first_student, first_engine, second_student, second_engine], float)
    added = np.array([[1, 1], [1, 0], [1, 1], [0, 1]], float)
    one, one_kept, other, other_kept = np.concatenate([bits, added], axis=1)
    first, second = one_kept.mean() / one.mean(), other_kept.mean() / other.mean()
    parts = (other_kept - second * other) / other.mean() - (one_kept - first * one) / one.mean()
    return RetentionChange(
        difference=float(plain),
        centre=float(second - first),
        error=float(parts.std()) / sqrt(len(parts)),
        samples=len(first_student),
    )
