"""Intervals for robust accuracies and for what an engine keeps of them."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

LEVEL = 0.95


def clopper_pearson(successes: float, samples: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson, Biometrika 1934); [0, 1] without samples.

    Args:
        successes: how many, 0 to `samples`; no whole number where a sample may count in part.
        samples: of how many.
        level: how often such an interval holds the true proportion.
    """
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, samples - successes + 1) if successes > 0 else 0.0
    high = beta.ppf(1 - tail, successes + 1, samples - successes) if successes < samples else 1.0
    return float(low), float(high)


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


def retention_interval(student: np.ndarray, engine: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """A conservative interval of retention, given how many samples the student keeps; None where it keeps none.

    Retention is 1 - lost + gained * odds, where `lost` is the share of the student's robust samples that
    the engine loses, `gained` the share of the others that it keeps, and `odds` the ratio of the two
    groups' sizes. Each share gets a Clopper-Pearson interval at half the error (Bonferroni).
    """
    kept, others = int(student.sum()), int((~student).sum())
    if kept == 0:
        return None
    half = 1 - (1 - level) / 2
    lost = clopper_pearson(int((student & ~engine).sum()), kept, half)
    gained = clopper_pearson(int((~student & engine).sum()), others, half) if others else (0.0, 0.0)
    odds = others / kept
    return 1 - lost[1] + odds * gained[0], 1 - lost[0] + odds * gained[1]
