"""Latency ratio: how many times as long one model takes as another, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
_RESAMPLES = 4000
METHOD = "median over rounds of the ratio of both medians of a round; 95 % percentile bootstrap over the rounds"


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % interval."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}]"


def paired_ratio(numerator: np.ndarray, denominator: np.ndarray, *, seed: int = 0) -> Ratio:
    """Compare two models that were timed in the same rounds.

    Both of a round met the same machine, so the ratios vary less than the times. Efron and Tibshirani, "An
    Introduction to the Bootstrap", chapter 13.

    Args:
        numerator: a time per round `[R]`.
        denominator: the other's `[R]`.
        seed: of the resamples.

    Raises:
        ValueError: the two are not of the same rounds.
    """
    if numerator.shape != denominator.shape or numerator.ndim != 1 or not len(numerator):
        raise ValueError(f"times of the same rounds are compared, got {numerator.shape} and {denominator.shape}")
    ratios = numerator / denominator
    rng = np.random.default_rng(seed)
    drawn = np.median(ratios[rng.integers(len(ratios), size=(_RESAMPLES, len(ratios)))], axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Ratio(float(np.median(ratios)), float(low), float(high))
