"""The paired comparison of runs that end by themselves: its bet is fair, and looking often does no harm."""

from __future__ import annotations

from itertools import product
from math import exp, prod

import numpy as np
import pytest
from edgeproof.stages.statistics.betting import difference_sequence, log_capital, lost_beyond_anytime
from edgeproof.stages.statistics.paired import difference_interval, more_lost

LOOKS = range(25, 501, 25)


def looks(loses: float, gains: float, runs: int) -> np.ndarray:
    """Lost and gained at every look, [runs, looks, 2]."""
    random = np.random.default_rng(0)
    kinds = random.choice(3, p=(loses, gains, 1 - loses - gains), size=(runs, max(LOOKS)))
    return np.stack([(kinds == kind).cumsum(1)[:, np.array(LOOKS) - 1] for kind in (0, 1)], axis=2)


@pytest.mark.parametrize(("loses", "gains", "margin"), [(0.2, 0.2, 0.0), (0.15, 0.05, 0.1), (0.05, 0.3, -0.25)])
def test_nobody_is_expected_to_win_where_no_more_than_the_margin_is_lost(loses: float, gains: float, margin: float):
    """All sequences of five samples, each as likely as it is."""
    chances = (loses, gains, 1 - loses - gains)
    expected = sum(
        prod(chances[kind] for kind in kinds) * exp(log_capital(kinds.count(0), kinds.count(1), 5, margin))
        for kinds in product(range(3), repeat=5)
    )
    assert expected == pytest.approx(1.0)


@pytest.mark.parametrize(("loses", "gains", "margin"), [(0.05, 0.05, 0.0), (0.06, 0.03, 0.03), (0.01, 0.01, 0.0)])
def test_looking_often_raises_no_more_alarms_than_promised(loses: float, gains: float, margin: float):
    every = looks(loses, gains, 400)
    alarms = fixed = 0
    for run in every.tolist():
        cells = [(lost, gained, samples) for (lost, gained), samples in zip(run, LOOKS, strict=True)]
        alarms += any(lost_beyond_anytime(*cell, margin) <= 0.05 for cell in cells)
        fixed += any(more_lost(*cell[:2]) <= 0.05 for cell in cells)
    assert alarms / 400 <= 0.05
    if margin == 0 and loses > 0.02:
        assert fixed / 400 > 0.1, "the p-value of a fixed size would not do"


def test_the_interval_holds_the_truth_at_all_looks():
    missed = 0
    for run in looks(0.06, 0.02, 200).tolist():
        ends = [difference_sequence(*run[at], LOOKS[at], 0.05) for at in range(0, len(LOOKS), 4)]
        missed += any(not low <= -0.04 <= high for low, high in ends)
    assert missed / 200 <= 0.1


def test_it_finds_what_is_there_and_is_wider_than_a_fixed_size_interval():
    assert lost_beyond_anytime(40, 2, 500, 0.0) < 0.001
    assert lost_beyond_anytime(2, 40, 500, 0.0) == 1.0
    wide, narrow = difference_sequence(20, 10, 500, 0.05), difference_interval(20, 10, 500, 0.9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    low, high = difference_sequence(20, 10, 500, 0.05)
    assert difference_sequence(10, 20, 500, 0.05) == pytest.approx((-high, -low))
    assert lost_beyond_anytime(20, 10, 500, -low) == pytest.approx(1.0)
    assert lost_beyond_anytime(20, 10, 500, -high) == pytest.approx(0.05, rel=1e-3)
