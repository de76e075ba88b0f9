"""Holm correction: several tests at one error level."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those at most alpha are rejected, and the chance of any false rejection is at most alpha.

    Holm, Scandinavian Journal of Statistics 6:65-70, 1979. It holds whatever the tests have to do with each other, such
    as engines that were attacked on the same samples.

    Args:
        p_values: each in [0, 1].

    Returns:
        One for each, in the same order, in [0, 1].
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
