"""Sample size of a paired comparison."""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

ERROR = 0.05
POWER = 0.95
_LEAST = 1e-9


def samples_to_detect(difference: float, differing: float, error: float = ERROR, power: float = POWER) -> int:
    """How many samples a one-sided McNemar test needs to find a difference.

    Connor, Biometrics 43:207-211, 1987, with one side's error. At a margin, where Tango's score takes the place of
    McNemar's test, Lu and Bean (Statistics in Medicine 14:1831-1839, 1995) give the like; `difference` is then what is
    lost beyond the margin, and the formula an approximation for margins that are small beside `differing`.

    Args:
        difference: share lost minus share gained, beyond the margin; at least 0, and below 1e-9 taken for that.
        differing: share of the samples on which the two differ, at least `difference` where that is a share.
        error: the chance to find one where there is none.
        power: the chance to find this one.
    """
    unit = NormalDist()
    difference = max(difference, _LEAST)
    # A retention that was nothing may have grown by more than 1; no variance is below 0.
    left = sqrt(max(differing - difference**2, 0.0))
    spread = unit.inv_cdf(1 - error) * sqrt(differing) + unit.inv_cdf(power) * left
    return ceil((spread / difference) ** 2)


def samples_to_decide(lost: int, gained: int, samples: int, margin: float, resolution: float) -> int:
    """About how many samples tell a loss within a margin from one that is `resolution` larger, if the shares stay.

    One of the two is to be excluded: the one that lies farther from what was lost so far. The share that differs is
    taken one sample higher than it was found, since none found is not none.

    Args:
        lost: samples that only the first gets right.
        gained: samples that only the second gets right.
        samples: of how many, above 0.
        margin: the share that may be lost.
        resolution: how much beyond it must not pass, above 0; each of the two answers errs at `ERROR`.
    """
    seen = (lost - gained) / samples
    distance = max(abs(seen - margin), abs(margin + resolution - seen))
    differing = max((lost + gained + 1) / (samples + 1), distance)
    return max(samples_to_detect(distance, min(differing, 1.0)), samples + 1)
