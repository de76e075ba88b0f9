"""Holm's correction against the closed test that it shortens."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from edgeproof.stages.statistics.holm import holm


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_what_it_rejects_is_what_bonferroni_rejects_in_every_group_it_is_in(count: int):
    random = np.random.default_rng(count)
    for _ in range(40):
        values = (random.random(count) ** 3).tolist()
        adjusted = holm(values)
        for alpha in (0.01, 0.05, 0.2):
            for place in range(count):
                groups = (
                    group
                    for size in range(1, count + 1)
                    for group in combinations(range(count), size)
                    if place in group
                )
                closed = all(min(values[each] for each in group) <= alpha / len(group) for group in groups)
                assert (adjusted[place] <= alpha) == closed


def test_none_and_one():
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
