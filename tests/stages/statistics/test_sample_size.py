"""Sample sizes against a published one and against exact power."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.stages.statistics.paired import difference_interval, more_lost
from edgeproof.stages.statistics.sample_size import samples_to_decide, samples_to_detect


def test_it_equals_a_published_one():
    # Connor 1987: shares of 0.45 and 0.05, two-sided 5 %, power 80 %.
    assert samples_to_detect(0.40, 0.50, error=0.025, power=0.80) == 23


@pytest.mark.parametrize(("loss", "differing"), [(0.03, 0.05), (0.03, 0.1), (0.05, 0.06), (0.01, 0.03)])
def test_so_many_samples_find_the_loss(loss: float, differing: float):
    samples = samples_to_detect(loss, differing)
    gains = (differing - loss) / 2
    counts = np.random.default_rng(0).multinomial(samples, (gains + loss, gains, 1 - differing), size=1000)
    power = np.mean([more_lost(int(lost), int(gained)) <= 0.05 for lost, gained, _ in counts])
    assert 0.92 <= power <= 0.99, "the formula is of McNemar's asymptotic test, the exact one rejects a little less"


def test_more_is_needed_for_less_and_for_noise():
    assert samples_to_detect(0.01, 0.05) > samples_to_detect(0.03, 0.05) < samples_to_detect(0.03, 0.1)


def test_a_decision_in_the_middle_needs_the_most():
    by_loss = [samples_to_decide(lost, 10, 300, 0.0, 0.03) for lost in (10, 12, 14, 17, 19)]
    assert max(by_loss) == by_loss[2], "a loss of 4 in 300 is as far from none as from 3 points, nearly"
    assert samples_to_decide(0, 0, 50, 0.0, 0.03) > 50


def test_so_many_samples_exclude_the_loss_where_nothing_changed():
    samples = samples_to_decide(5, 5, 200, 0.0, 0.03)
    counts = np.random.default_rng(0).multinomial(samples, (0.025, 0.025, 0.95), size=500)
    excluded = np.mean(
        [-difference_interval(int(lost), int(gained), samples, 0.9)[0] < 0.03 for lost, gained, _ in counts]
    )
    assert excluded >= 0.93
