"""Intervals of a difference from both intervals, against a published one and against coverage."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from edgeproof.stages.statistics.mover import Change
from scipy.stats import binomtest, norm


def test_of_wilsons_intervals_it_is_newcombes():
    # Newcombe, Statistics in Medicine 17:873-890, 1998, table II: 56/70 - 48/80, method 10.
    first, second = binomtest(48, 80), binomtest(56, 70)
    ends = [
        (test.proportion_ci(method="wilson").low, test.proportion_ci(method="wilson").high) for test in (first, second)
    ]
    change = Change.between(48 / 80, ends[0], 56 / 70, ends[1])
    assert [round(end, 4) for end in change.interval(0.95)] == [0.0524, 0.3339]


def test_another_level_and_the_tails_agree():
    change = Change(0.1, 0.04, 0.06)
    low, high = change.interval(0.90)
    assert change.p_above(low) == pytest.approx(0.05)
    assert change.p_below(high) == pytest.approx(0.05)
    assert change.interval(0.95) == pytest.approx((0.06, 0.16))


def test_without_width_only_the_sides_count():
    exact = Change(0.1, 0.0, 0.0)
    assert (exact.p_above(0.05), exact.p_above(0.2), exact.p_below(0.2), exact.p_below(0.05)) == (0.0, 1.0, 0.0, 1.0)


def test_two_measurements_of_one_ratio_seldom_differ():
    random, z = np.random.default_rng(0), norm.ppf(0.975)
    alarms = 0
    for _ in range(1000):
        first, second = (log(1.3) + random.normal(0, 0.02, 2)).tolist()
        ends = [(value - z * 0.02, value + z * 0.02) for value in (first, second)]
        alarms += Change.between(first, ends[0], second, ends[1]).p_above(0.0) <= 0.05
    assert 0.03 <= alarms / 1000 <= 0.07
