"""Betting confidence sequence: a paired comparison that holds whenever a run stops.

A run that ends as soon as its own gates are decided has a number of samples that depends on what was found; the p-value
of a sample of fixed size means nothing there. Here a bettor starts with 1 and stakes, at each sample, on more being
lost than the margin allows. Where no more is, no strategy is expected to win, so that the capital ever exceeds
1 / error with a chance of at most `error`, however one stops (Ville's inequality). Source: Waudby-Smith & Ramdas,
"Estimating means of bounded random variables by betting", JRSS-B 86:1-27, 2024 (arXiv 2010.09686); the capital here is
the mean over constant stakes, so that it depends on the counts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, log1p

# Shares of the largest stake that cannot lose everything at once.
_STAKES = tuple((step + 0.5) / 50 for step in range(50))
_HALVINGS = 50


def log_capital(lost: int, gained: int, samples: int, margin: float) -> float:
    """Logarithm of what a bettor has after so many samples, who started with 1 and bet that more than `margin` is lost.

    Args:
        lost: samples that only the first gets right.
        gained: samples that only the second gets right.
        samples: of how many.
        margin: the share that may be lost, in (-1, 1).
    """
    same = samples - lost - gained
    logs = [
        lost * log1p(stake * (1 - margin)) + gained * log1p(-stake * (1 + margin)) + same * log1p(-stake * margin)
        for stake in (share / (1 + margin) for share in _STAKES)
    ]
    top = max(logs)
    return top + log(sum(exp(each - top) for each in logs) / len(logs))


def lost_beyond_anytime(lost: int, gained: int, samples: int, margin: float) -> float:
    """One-sided p-value that more than a margin is lost, valid at any stop: 1 over the capital; in (0, 1]."""
    return exp(min(0.0, -log_capital(lost, gained, samples, margin)))


def difference_sequence(lost: int, gained: int, samples: int, error: float) -> tuple[float, float]:
    """Interval of the share gained minus the share lost that holds at all stops at once.

    Args:
        lost: samples that only the first gets right.
        gained: samples that only the second gets right.
        samples: of how many, above 0.
        error: the chance that one end misses the truth at any time; so much for each end.

    Returns:
        Lower and upper end, in [-1, 1].
    """
    wealth = -log(error)

    def end(refuted: Callable[[float], bool], seen: float) -> float:
        """The largest share lost that is not refuted."""
        if seen >= 1:
            return 1.0
        within, beyond = seen, 1.0
        for _ in range(_HALVINGS):
            middle = (within + beyond) / 2
            within, beyond = (within, middle) if refuted(middle) else (middle, beyond)
        return beyond

    seen = (lost - gained) / samples
    # That less than `share` is lost is that more than -`share` is gained, the same bet with the roles exchanged.
    most = end(lambda share: log_capital(gained, lost, samples, -share) > wealth, seen)
    least = -end(lambda share: log_capital(lost, gained, samples, -share) > wealth, -seen)
    return -most, -least
