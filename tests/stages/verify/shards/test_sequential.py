"""Sequential verdicts: the confidence sequence against Bayes' rule, its error by simulation, and where a run stops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.verify import Attacked, Evaluation, TorchSubject, VerifyConfig, Workforce, attack_subject, sample
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.attack import between_looks
from edgeproof.stages.verify.figures import FIGURES_FILE
from edgeproof.stages.verify.shards.sequential import Sequential, confidence_sequence
from scipy.stats import betabinom


@dataclass(frozen=True)
class AtLeast:
    limit: float
    figure: str = "robust_accuracy"

    def holds(self, value: float) -> bool:
        return value >= self.limit


@pytest.mark.parametrize(("successes", "drawn", "population"), [(0, 1, 10), (7, 10, 40), (33, 60, 200), (25, 25, 26)])
def test_it_is_where_bayes_rule_has_not_made_a_share_too_unlikely(successes: int, drawn: int, population: int):
    every = np.arange(population + 1)
    prior = betabinom.pmf(every, population, 1, 1)
    rest = population - drawn
    posterior = betabinom.pmf(every - successes, rest, 1 + successes, 1 + drawn - successes)
    kept = every[posterior * 20 > prior * (1 + 1e-12)] / population
    assert confidence_sequence(successes, drawn, population) == pytest.approx((kept.min(), kept.max()))


def test_all_drawn_leaves_the_share_itself():
    assert confidence_sequence(123, 200, 200) == (123 / 200, 123 / 200)


def test_whoever_looks_after_every_sample_is_misled_in_at_most_5_percent_of_the_runs():
    random, runs = np.random.default_rng(0), 300
    population = np.arange(100) < 70
    missed = peeked = 0
    for _ in range(runs):
        successes = np.cumsum(random.permutation(population))
        intervals = [confidence_sequence(int(s), n, 100) for n, s in enumerate(successes, 1)]
        missed += any(not low <= 0.7 <= high for low, high in intervals)
        # What a fixed-size 95 % interval does to one who looks as often, as the test's own measure.
        shares = successes[9:] / np.arange(10, 101)
        widths = 1.96 * np.sqrt(shares * (1 - shares) / np.arange(10, 101))
        peeked += bool((np.abs(shares - 0.7) > widths).any())
    assert missed / runs <= 0.05
    assert peeked / runs > 0.1, "the simulation can see an interval that does not hold"


def test_the_error_is_shared_by_the_accuracies_that_have_gates():
    bits = np.arange(50) < 40
    both = {"robust_accuracy": bits, "clean_accuracy": bits}
    alone = Sequential((AtLeast(0.5),), 1000).intervals(both)
    shared = Sequential((AtLeast(0.5), AtLeast(0.5, "clean_accuracy"), AtLeast(9, "size_bytes")), 1000)
    assert list(alone) == ["robust_accuracy"]
    assert set(shared.intervals(both)) == {"clean_accuracy", "robust_accuracy"}
    assert shared.intervals(both)["robust_accuracy"][0] < alone["robust_accuracy"][0]


@pytest.mark.parametrize(("samples", "size"), [(1, 150), (50, 150), (51, 150), (500, 150), (10_000, 150), (40, 12)])
def test_shards_hold_every_sample_once_and_grow_by_half_of_what_came_before(samples: int, size: int):
    shards = between_looks(samples, size)
    assert np.concatenate(shards).tolist() == list(range(samples))
    for rows in shards:
        assert 1 <= len(rows) <= min(size, max(50, rows[0] / 2))


def test_a_run_stops_at_the_same_sample_whoever_works_and_reports_its_own_interval(
    student: Classifier, digits: Dataset, threat, tmp_path: Path
):
    config = VerifyConfig(samples=200)
    split = sample(digits.test, config, shuffled=True)
    subject, stop = TorchSubject("student", student), Sequential((AtLeast(0.2),), len(digits.test))
    found: list[Attacked] = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        attack_subject(
            subject, Evaluation(split, threat, config, stop=stop), ("apgd-ce",), folder, workforce=Workforce(workers)
        )
        found.append(Attacked.load(folder))
    count = len(found[0].index)
    looks = [rows[-1] + 1 for rows in between_looks(200, config.shard_size)]
    assert count in looks
    assert count < 200
    assert np.array_equal(found[0].index, found[1].index)
    assert np.array_equal(found[0].index, split.index[:count]), "the first of the draw"
    assert np.array_equal(found[0].label, split.labels[:count])
    settled = tmp_path / "settled"
    settled.mkdir()
    aggregate(Ledger({"student": subject}), {"student": found[0]}, Evaluation(split, threat, config, stop), settled)
    figures = (settled / FIGURES_FILE).read_text()
    interval = confidence_sequence(int(found[0].robust.sum()), count, 500)
    assert interval[0] > 0.2
    assert str(interval[0]) in figures
    with np.load(settled / "adversarial" / "student.npz") as pack:
        clean = dict(zip(split.index.tolist(), split.images, strict=True))
        assert all(np.array_equal(clean[row], image) for row, image in zip(pack["index"], pack["clean"], strict=True))
