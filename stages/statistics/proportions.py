"""Clopper-Pearson and retention intervals: robust accuracies, and what an engine keeps of them."""

from __future__ import annotations

import numpy as np

LEVEL = 0.95


def clopper_pearson(successes: float, samples: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson, Biometrika 1934); [0, 1] without samples.

    Args:
        successes: how many, 0 to `samples`; no whole number where a sample may count in part.
        samples: of how many.
        level: how often such an interval holds the true proportion.
    """
    from scipy.special import betaincinv  # a third of a second, which not every gate needs

    tail = (1 - level) / 2
    low = betaincinv(successes, samples - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, samples - successes, 1 - tail) if successes < samples else 1.0
    return float(low), float(high)


def samples_for_width(share: float, width: float) -> int:
    """The least number of samples whose Clopper-Pearson interval of a proportion is no wider than that.

    Args:
        share: the proportion that is expected, 0 to 1.
        width: of the interval, above 0.
    """

    def narrow(samples: int) -> bool:
        low, high = clopper_pearson(share * samples, samples)
        return high - low <= width

    most = 1
    while not narrow(most):
        most *= 2
    least = most // 2  # too few, or none
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if narrow(middle) else (middle, most)
    return most


def retention(student: np.ndarray, engine: np.ndarray) -> float | None:
    """Engine robust accuracy over student robust accuracy on the same samples.

    Args:
        student: robust bits of the float student.
        engine: robust bits of the engine, same samples in the same order.

    Returns:
        The ratio; None where the student keeps no sample, so that there is nothing to retain.
    """
    if not student.any():
        return None
    return float(engine.sum() / student.sum())


def retention_interval(student: np.ndarray, engine: np.ndarray) -> tuple[float, float] | None:
    """A conservative interval of retention, given how many samples the student keeps; None where it keeps none.

    Retention is 1 - lost + gained * odds, where `lost` is the share of the student's robust samples that
    the engine loses, `gained` the share of the others that it keeps, and `odds` the ratio of the two
    groups' sizes. Each share gets a Clopper-Pearson interval at half the error (Bonferroni).
    """
    kept, others = int(student.sum()), int((~student).sum())
    if kept == 0:
        return None
    half = 1 - (1 - LEVEL) / 2
    lost = clopper_pearson(int((student & ~engine).sum()), kept, half)
    gained = clopper_pearson(int((~student & engine).sum()), others, half) if others else (0.0, 0.0)
    odds = others / kept
    return 1 - lost[1] + odds * gained[0], 1 - lost[0] + odds * gained[1]
