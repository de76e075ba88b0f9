"""The verifier distrusts itself: every planted defect must be caught by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Evaluation, VerifyConfig, attack_subject
from edgeproof.stages.verify.attack import Attacked
from edgeproof.stages.verify.checks.base import find
from edgeproof.stages.verify.checks.twin_agreement import TwinCounts
from edgeproof.stages.verify.checks.white_box_audit import WhiteBoxCounts, allowance
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.shards.shard import STRONG

from tests.stages.verify.checks.one_shard import doubts
from tests.stages.verify.planted_classifiers import Planted

CONFIG = VerifyConfig(square_queries=400, strong_restarts=2)
ORDER = ("apgd-ce", "square")


def attacked(subject, digits: Dataset, threat: ThreatModel, folder: Path, count: int = 60) -> Attacked:
    folder.mkdir()
    attack_subject(subject, Evaluation(digits.test.take(slice(0, count)), threat, CONFIG), ORDER, folder)
    return Attacked.load(folder)


def names(found: Attacked) -> set[str]:
    return {finding["name"] for finding in found.summary["findings"] if finding["inconclusive"]}  # type: ignore[index]


@pytest.fixture(scope="module")
def honest(student: Classifier, digits: Dataset, threat: ThreatModel, tmp_path_factory) -> Attacked:
    return attacked(Planted("honest", student), digits, threat, tmp_path_factory.mktemp("h") / "a")


def test_an_honest_model_raises_no_doubt(honest: Attacked):
    assert names(honest) == set()
    assert STRONG not in honest.bits


@pytest.mark.slow
def test_rounding_in_the_graph_is_caught(student, digits, threat, honest: Attacked, tmp_path: Path):
    found = attacked(Planted("rounding", student, "rounding"), digits, threat, tmp_path / "a")
    assert found.bits["apgd-ce"].mean() > honest.robust.mean() + 0.05, "the defect must fool the naive figure"
    assert names(found) & {"white-box-too-weak", "huge-eps"}
    assert STRONG in found.bits, "a suspicious result triggers the stronger white box"


def test_answers_that_depend_on_neighbours_are_caught(student, digits, threat, tmp_path: Path):
    found = attacked(Planted("neighbours", student, "neighbours"), digits, threat, tmp_path / "a", count=30)
    assert "unstable" in names(found)


def test_a_twin_of_another_function_is_caught(student, digits, threat, tmp_path: Path):
    found = attacked(Planted("lie", student, "lie"), digits, threat, tmp_path / "a", count=20)
    assert "twin-disagrees" in names(found)


def test_logits_that_are_not_numbers_count_as_wrong(student, digits, threat, tmp_path: Path):
    found = attacked(Planted("nan", student, "nan"), digits, threat, tmp_path / "a", count=10)
    assert not found.clean_correct.any()
    assert not found.robust.any()


def test_bits_are_cumulative_and_false_where_the_clean_image_is_wrong(honest: Attacked):
    previous = honest.clean_correct
    for column in honest.bits.values():
        assert not (column & ~previous).any()
        previous = column


@pytest.mark.parametrize(
    ("counts", "doubted"),
    [
        (TwinCounts(clean_agreeing=23, clean_compared=24), False),  # one image may lie on a tie
        (TwinCounts(clean_agreeing=22, clean_compared=24), True),
        (TwinCounts(clean_agreeing=990, clean_compared=1000), False),
        (TwinCounts(clean_agreeing=989, clean_compared=1000), True),
        (TwinCounts(adversarial_agreeing=979, adversarial_compared=1000), True),
    ],
)
def test_a_twin_may_miss_a_percent_of_clean_and_two_of_adversarial_images(counts: TwinCounts, doubted: bool):
    assert [finding.name for finding in find(Counts(counts), ())] == (["twin-disagrees"] if doubted else [])


def test_the_allowance_is_two_samples_or_half_a_percent():
    assert (allowance(100), allowance(400), allowance(10_000)) == (2.0, 2.0, 50.0)
    assert not find(Counts(WhiteBoxCounts(standing=300, missed_by_strong=2)), ())
    assert doubts(Counts(WhiteBoxCounts(standing=300, missed_by_strong=3))) == ["white-box-too-weak"]
    assert not find(Counts(WhiteBoxCounts(standing=300, missed_by_strong=2, search_missed_by_strong=6)), ())
    (found,) = find(Counts(WhiteBoxCounts(standing=300, search_missed_by_strong=7)), ())
    assert found.name == "white-box-too-weak"
    assert "7 samples broken by a search alone" in found.sentence
    assert "(allowed: 6)" in found.sentence


def test_the_result_is_in_the_order_of_the_samples(honest: Attacked, digits: Dataset):
    assert np.array_equal(honest.index, digits.test.index[:60])
    assert np.array_equal(honest.label, digits.test.labels[:60])
