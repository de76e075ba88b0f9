"""Intervals against scipy's own and against their promised coverage."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.stages.statistics.proportions import clopper_pearson, retention, retention_interval, samples_for_width
from scipy.stats import binomtest


@pytest.mark.parametrize(("successes", "samples"), [(0, 10), (10, 10), (3, 10), (258, 300), (1, 1), (499, 1000)])
def test_clopper_pearson_equals_scipys_exact_interval(successes: int, samples: int):
    expected = binomtest(successes, samples).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, samples) == pytest.approx((expected.low, expected.high))


def test_no_samples_say_nothing():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_retention_is_the_ratio_of_the_robust_counts():
    student = np.array([True, True, True, True, False])
    engine = np.array([True, True, True, False, False])
    assert retention(student, engine) == 0.75
    assert retention(student, student) == 1.0
    assert retention(~student & False, student) is None, "where nothing was robust, nothing can be retained"
    assert retention_interval(student & False, student) is None


def test_the_retention_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    keep, win, robust = 0.95, 0.03, 0.85
    truth = (robust * keep + (1 - robust) * win) / robust
    covered = 0
    for _ in range(400):
        student = rng.random(300) < robust
        engine = np.where(student, rng.random(300) < keep, rng.random(300) < win)
        # Conditional on how many samples the student keeps, as the interval is.
        interval = retention_interval(student, engine)
        assert interval is not None
        low, high = interval
        odds = (~student).sum() / student.sum()
        covered += low <= keep + odds * win <= high
        assert low <= retention(student, engine) <= high
    assert covered / 400 >= 0.95
    assert abs(truth - (keep + (1 - robust) / robust * win)) < 1e-9


@pytest.mark.parametrize("share", [0.0, 0.5, 0.87, 1.0])
@pytest.mark.parametrize("width", [0.5, 0.2, 0.05])
def test_one_sample_fewer_is_too_few_for_a_width(share: float, width: float):
    samples = samples_for_width(share, width)

    def found(count: int) -> float:
        low, high = clopper_pearson(share * count, count)
        return high - low

    assert found(samples) <= width < found(samples - 1)
