"""Two retentions on the same samples: false alarms, coverage, and where next to nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.stages.statistics.retention_change import RetentionChange, retention_change


def drawn(random: np.random.Generator, samples: int, keeps: float, kept_before: float) -> tuple[np.ndarray, ...]:
    """One student, robust on 0.85 of the samples, and two engines that keep so much of it, mostly the same."""
    student = random.random(samples) < 0.85
    hard = random.random(samples)
    noise = random.random((2, samples)) < 0.01
    before, after = student & ((hard < kept_before) ^ noise[0]), student & ((hard < keeps) ^ noise[1])
    return student, before, student, after


def found(*bits: np.ndarray) -> RetentionChange:
    change = retention_change(*bits)
    assert change is not None
    return change


def test_it_is_the_difference_of_the_retentions():
    change = found(*drawn(np.random.default_rng(0), 500, 0.93, 0.97))
    student, before, again, after = drawn(np.random.default_rng(0), 500, 0.93, 0.97)
    assert change.difference == pytest.approx(after.sum() / again.sum() - before.sum() / student.sum())
    assert change.interval(0.9)[0] < change.difference < change.interval(0.9)[1]
    assert change.samples == 500


@pytest.mark.parametrize("samples", [100, 1000])
def test_unchanged_engines_raise_few_alarms_and_a_lost_share_is_seen(samples: int):
    random = np.random.default_rng(0)
    quiet = [found(*drawn(random, samples, 0.95, 0.95)).p_lost(0.0) <= 0.05 for _ in range(1000)]
    assert np.mean(quiet) <= 0.065
    if samples == 1000:
        loud = [found(*drawn(random, samples, 0.91, 0.95)).p_lost(0.0) <= 0.05 for _ in range(200)]
        assert np.mean(loud) >= 0.95


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    # An engine keeps a student's sample with 0.99 keeps + 0.01 (1 - keeps).
    truth = 0.98 * (0.92 - 0.95)
    ends = [found(*drawn(random, 500, 0.92, 0.95)).interval(0.9) for _ in range(1000)]
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.88


def test_where_nothing_differs_a_few_samples_still_say_little():
    student = np.ones(20, bool)
    low, high = found(student, student, student, student).interval(0.9)
    assert low < -0.05
    assert high > 0.05
    assert retention_change(student & False, student, student, student) is None
