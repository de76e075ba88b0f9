"""Who is nearest to an error is tried first, and who is not only after somebody fell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.shard_result import ROUNDED, ShardResult
from edgeproof.stages.verify.routes.base import Batch, Outcome
from edgeproof.stages.verify.routes.nearest_first import FIRST, nearest, nearest_first
from edgeproof.stages.verify.shards.shard import STRONG, strengthen_shard

from tests.stages.verify.linear_subject import SHAPE, LinearSubject, draw_split, exact_distances


def lead(images: np.ndarray) -> np.ndarray:
    """Two classes; the first leads by the mean of the pixels."""
    first = images.reshape(len(images), -1).mean(1)
    return np.stack([first, np.zeros_like(first)], 1).astype(np.float32)


@pytest.fixture
def batch() -> Batch:
    images = (
        np.full((6, 1, 2, 2), 0.5, np.float32) + np.float32(0.05) * np.arange(6, dtype=np.float32)[:, None, None, None]
    )
    return Batch(torch.from_numpy(images), torch.zeros(6, dtype=torch.long), np.arange(10, 16))


def test_without_candidates_the_images_themselves_count(batch: Batch):
    assert nearest(batch, Candidates.none((1, 2, 2)), lead, 2).tolist() == [True, True] + [False] * 4
    assert nearest(batch, Candidates.none((1, 2, 2)), lead, 9).all()


def test_the_worst_candidate_of_a_sample_counts_and_nobody_elses(batch: Batch):
    index = np.array([15, 15, 14, 99])
    images = np.array([0.9, 0.1, 0.7, 0.0], np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    found = nearest(batch, Candidates(index, np.full(4, "any"), images), lead, 2)
    assert found.tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("falls", "thorough", "attacked"),
    [
        ((), False, [20]),
        ((0,), False, [20, 20]),
        ((0,), True, [20, 39]),
        (tuple(range(20)), True, [20, 20]),
        ((30,), True, [20]),
    ],
)
def test_whom_the_second_attack_meets(falls: tuple[int, ...], thorough: bool, attacked: list[int]):
    leads = 0.5 + 0.01 * np.arange(40, dtype=np.float32)
    batch = Batch(torch.from_numpy(leads)[:, None, None, None], torch.zeros(40, dtype=torch.long), np.arange(40))
    met: list[Batch] = []

    def attack(part: Batch) -> Outcome:
        met.append(part)
        images = part.images.numpy()
        found = Candidates(part.index, np.full(len(part), f"attack {len(met)}"), images)
        return Outcome(np.isin(part.index, falls), found, {f"warning {len(met)}"})

    nobody = Candidates.none((1, 1, 1))
    outcome = nearest_first(batch, nobody, lead, attack, thoroughly=attack if thorough else None)
    assert [len(part) for part in met] == attacked
    assert met[0].index.tolist() == list(range(20)), "those that lead by least come first"
    assert np.flatnonzero(outcome.broken).tolist() == [row for row in falls if len(met) == 2 or row < 20]
    assert len(outcome.candidates) == sum(attacked)
    assert len(outcome.warnings) == len(attacked)


def strengthened(eps: float) -> tuple[ShardResult, np.ndarray]:
    split = draw_split(60)
    distances = exact_distances(split, "Linf")
    correct = distances > 0
    bits = {"apgd-ce": correct.copy(), ROUNDED: correct.copy()}
    result = ShardResult(split, correct, bits, Candidates.none(SHAPE), Counts())
    config = VerifyConfig(strong_restarts=1, square_queries=10)
    return strengthen_shard(LinearSubject(), result, ThreatModel(norm="Linf", eps=eps), config), distances


def test_where_none_of_the_nearest_falls_to_the_stronger_attack_the_others_are_left_alone():
    _, distances = strengthened(0.5)
    result, _ = strengthened(0.5 * float(distances[distances > 0].min()))
    assert (result.bits[STRONG] == result.clean_correct).all()
    attacked = result.candidates.index[result.candidates.attack == "apgd-ce"]
    assert len(set(attacked.tolist())) == FIRST < result.clean_correct.sum()


def test_where_one_falls_all_are_attacked():
    _, distances = strengthened(0.5)
    eps = float(np.median(distances))
    result, _ = strengthened(eps)
    standing, within = result.bits[STRONG], distances < eps
    assert standing[~within].all()
    assert (~standing[within]).mean() > 0.95, "APGD on the cross-entropy may end at another class than the nearest"
    assert within.sum() > FIRST
