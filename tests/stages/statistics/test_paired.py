"""The paired comparison against enumeration, published examples and its promised coverage."""

from __future__ import annotations

from dataclasses import replace
from math import comb, exp, lgamma, log

import numpy as np
import pytest
from edgeproof.stages.statistics.paired import compare_paired, difference_interval, lost_beyond, mcnemar, more_lost
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm


def bits(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """First's and second's bits with so many samples of each kind, shuffled alike."""
    order = np.random.default_rng(0).permutation(both + lost + gained + neither)
    first = np.repeat([True, True, False, False], (both, lost, gained, neither))
    second = np.repeat([True, False, True, False], (both, lost, gained, neither))
    return first[order], second[order]


def test_it_counts():
    found = compare_paired(*bits(200, 9, 3, 88))
    assert (found.samples, found.lost, found.gained) == (300, 9, 3)
    assert found.difference == -6 / 300
    assert found.interval == difference_interval(9, 3, 300)
    assert found.as_json() == {
        "lost": 9,
        "gained": 3,
        "difference": -6 / 300,
        "ci": list(found.interval),
        "p": found.p_value,
    }


@pytest.mark.parametrize("differing", [1, 2, 5, 8, 13])
def test_mcnemar_equals_the_sum_over_all_outcomes_no_likelier(differing: int):
    for lost in range(differing + 1):
        ways = [comb(differing, k) for k in range(differing + 1)]
        expected = sum(each for each in ways if each <= ways[lost]) / 2**differing
        assert mcnemar(lost, differing - lost) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "level", "expected"),
    [
        (3, 9, 32, 0.95, (-0.027, 0.390)),  # Tango 1998, section 6.2
        (1, 0, 44, 0.90, (-0.096, None)),  # Tango 1998, section 6.1
        (7, 1, 21, 0.95, (-0.517, -0.026)),  # Fagerland, Lydersen & Laake 2014, table V
    ],
)
def test_the_interval_equals_published_ones(
    lost: int, gained: int, samples: int, level: float, expected: tuple[float, float | None]
):
    for found, printed in zip(difference_interval(lost, gained, samples, level), expected, strict=True):
        assert printed is None or round(found, 3) == printed


@pytest.mark.parametrize(
    ("samples", "loses", "gains"),
    [(10, 0.1, 0.1), (20, 0.3, 0.1), (50, 0.05, 0.01), (100, 0.05, 0.01), (200, 0.02, 0.0), (300, 0.02, 0.01)],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(samples: int, loses: float, gains: float):
    covered = total = 0.0
    most = min(samples, 30)
    for lost in range(most + 1):
        for gained in range(min(most, samples - lost) + 1):
            share = trinomial(lost, gained, samples, loses, gains)
            if share < 1e-7:
                continue
            low, high = difference_interval(lost, gained, samples)
            total += share
            covered += share * (low <= gains - loses <= high)
    assert total > 0.999, "all outcomes that can be expected were counted"
    assert covered >= 0.93


def trinomial(lost: int, gained: int, samples: int, loses: float, gains: float) -> float:
    """How likely so many are lost and gained."""
    if gained and not gains:
        return 0.0
    same = samples - lost - gained
    ways = lgamma(samples + 1) - lgamma(lost + 1) - lgamma(gained + 1) - lgamma(same + 1)
    return exp(ways + lost * log(loses) + (gained * log(gains) if gained else 0) + same * log(1 - loses - gains))


@pytest.mark.parametrize("counts", [(200, 9, 3, 88), (0, 5, 0, 0), (0, 0, 7, 3), (1, 4, 4, 1), (30, 0, 0, 10)])
def test_swapping_the_two_mirrors_everything(counts: tuple[int, int, int, int]):
    first, second = bits(*counts)
    there, back = compare_paired(first, second), compare_paired(second, first)
    low, high = there.interval
    assert -1 <= low <= there.difference <= high <= 1
    assert back.interval == pytest.approx((-high, -low))
    assert replace(back, interval=there.interval) == replace(
        there,
        lost=there.gained,
        gained=there.lost,
        difference=-there.difference,
    )


def test_no_sample_that_differs_proves_no_equality():
    found = compare_paired(*bits(40, 0, 0, 10))
    z = 1.959963984540054
    assert found.p_value == 1.0
    assert found.interval == pytest.approx((-(z**2) / (50 + z**2), z**2 / (50 + z**2)))


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="no samples"):
        compare_paired(np.zeros(0, bool), np.zeros(0, bool))
    with pytest.raises(ValueError, match=r"the same N twice, got \(3,\) and \(2,\)"):
        compare_paired(np.zeros(3, bool), np.zeros(2, bool))


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (0, 4), (1, 0), (5, 0), (7, 2), (30, 12), (400, 350), (3000, 2900)]
)
def test_one_sided_mcnemar_equals_scipys_binomial_test(lost: int, gained: int):
    expected = binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    assert more_lost(lost, gained) == pytest.approx(expected, rel=1e-9)
    assert lost_beyond(lost, gained, 10_000, 0.0) == more_lost(lost, gained)


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "margin"),
    [(30, 5, 300, 0.03), (12, 12, 300, 0.02), (40, 0, 1000, 0.01), (0, 7, 200, 0.05), (3, 90, 500, -0.1)],
)
def test_the_test_at_a_margin_is_the_score_of_the_likeliest_shares(lost: int, gained: int, samples: int, margin: float):
    """Tango's closed form against a numerical maximum of the likelihood whose difference is the margin."""

    def unlikely(less: float) -> float:
        more, same = less + margin, 1 - 2 * less - margin
        counts = ((lost, more), (gained, less), (samples - lost - gained, same))
        return -sum(count * log(max(share, 1e-300)) for count, share in counts if count)

    least, most = max(0.0, -margin), (1 - margin) / 2
    less = minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
    variance = samples * (2 * less + margin - margin**2)
    expected = norm.sf((lost - gained - samples * margin) / variance**0.5)
    assert lost_beyond(lost, gained, samples, margin) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("counts", [(30, 5, 300), (12, 12, 300), (40, 2, 1000)])
def test_a_margin_at_an_end_of_the_interval_is_borderline(counts: tuple[int, int, int]):
    low, high = difference_interval(*counts, level=0.9)
    assert lost_beyond(*counts, margin=-high) == pytest.approx(0.05, abs=1e-6)
    assert lost_beyond(*counts, margin=-low) == pytest.approx(0.95, abs=1e-6)
