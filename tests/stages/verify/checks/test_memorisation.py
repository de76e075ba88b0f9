"""Models that know the images they are tested on, or remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attack import Attacked, attack_subject
from edgeproof.stages.verify.checks.batch_independence import BatchCounts, BatchIndependence
from edgeproof.stages.verify.checks.memorisation import Memorisation, MemorisationCounts, stands_out
from edgeproof.stages.verify.checks.single_image import FreshCounts, SingleImage
from edgeproof.stages.verify.checks.surrogate_agreement import SurrogateAgreement, SurrogateCounts
from edgeproof.stages.verify.evaluation import Evaluation
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.subject.guarded import Guarded
from edgeproof.stages.verify.subject.subject import OpenedSubject, Predict, in_batches
from scipy.stats import binom

from tests.stages.verify.checks.one_shard import ask, doubts
from tests.stages.verify.linear_subject import CLASSES, Linear, draw_split

EPS, COUNT = 0.1, 40
THREAT = ThreatModel(norm="Linf", eps=EPS)
SPLIT = draw_split(COUNT)
LINEAR = Linear(0).eval()
honest = in_batches(LINEAR)


def worst_images() -> np.ndarray:
    """Of each image the corner of its ball that the linear model likes least."""
    x = torch.from_numpy(SPLIT.images).requires_grad_()
    own = LINEAR(x).gather(1, torch.from_numpy(SPLIT.labels)[:, None]).sum()
    (slope,) = torch.autograd.grad(own, x)
    return (SPLIT.images - EPS * np.sign(slope.numpy())).astype(np.float32)


def result(*, robust: bool = True) -> ShardResult:
    candidates = Candidates(SPLIT.index, np.full(COUNT, "apgd-ce"), worst_images())
    clean = honest(SPLIT.images).argmax(1) == SPLIT.labels
    return ShardResult(SPLIT, clean, {"apgd-ce": clean & robust}, candidates, Counts())


def near(images: np.ndarray) -> np.ndarray:
    """The row of the known image within EPS of each, or -1."""
    apart = np.abs(images[:, None] - SPLIT.images[None]).reshape(len(images), COUNT, -1).max(2)
    return np.where(apart.min(1) <= 1.001 * EPS, apart.argmin(1), -1)


def drawn(images: np.ndarray) -> np.ndarray:
    """Known images are put back nine tenths of the way, before the model sees them."""
    rows = near(images)
    back = np.where((rows >= 0)[:, None, None, None], 0.9 * SPLIT.images[rows] + 0.1 * images, images)
    return honest(back.astype(np.float32))


@dataclass(frozen=True)
class Answering:
    """A subject of somebody else's function."""

    answers: Predict
    name: str = "answering"

    def open(self) -> OpenedSubject:
        guard = Guarded(self.answers, CLASSES)
        return OpenedSubject(guard, {}, CLASSES, guard=guard)

    def predictor(self) -> Predict:
        return self.answers


class Remembering:
    """Answers an image like the first one that it saw so near."""

    def __init__(self) -> None:
        self.seen: dict[int, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        answers = honest(images)
        for place, row in enumerate(near(images)):
            answers[place] = self.seen.setdefault(int(row), answers[place])
        return answers


def opened(predict: Predict, fresh: Callable[[], Guarded] | None = None) -> OpenedSubject:
    return OpenedSubject(predict, {"surrogate-alone": LINEAR}, CLASSES, surrogate=honest, fresh=fresh)


def test_a_model_that_stands_still_around_the_test_images_is_seen():
    found = result()
    counts = ask(Memorisation, found, opened(drawn), THREAT)[MemorisationCounts]
    assert counts.elsewhere_other == counts.elsewhere_compared == found.robust.sum()
    assert doubts(found.counts) == ["memorised"]


def test_so_is_one_that_moves_more_there():
    found = result()

    def bumps(images: np.ndarray) -> np.ndarray:
        distances = ((images[:, None] - SPLIT.images[None]) ** 2).reshape(len(images), COUNT, -1).sum(2)
        return honest(images) + 50 * np.exp(-20 * distances) @ np.eye(CLASSES, dtype=np.float32)[SPLIT.labels]

    ask(Memorisation, found, opened(bumps), THREAT)
    assert doubts(found.counts) == ["memorised"]


@pytest.mark.parametrize("threat", [THREAT, ThreatModel(norm="L2", eps=0.5)])
def test_an_honest_model_moves_everywhere_alike(threat: ThreatModel):
    found = result()
    counts = ask(Memorisation, found, opened(honest), threat)[MemorisationCounts]
    assert (counts.elsewhere_other, counts.elsewhere_compared) == (0, found.robust.sum())


def test_an_honest_model_may_be_calmer_at_images_like_those_it_learnt_from():
    """As vision transformers are: moves that differ by factors, and real images that move less than shifted ones."""
    rng = np.random.default_rng(0)
    here, aside = np.exp2(rng.normal(-0.55, 0.6, 2000)), np.exp2(rng.normal(0, 0.6, (4, 2000)))
    assert 0 < stands_out(here, aside).mean() < 0.05
    assert stands_out(here / 10, aside).mean() > 0.6  # drawn nine tenths of the way to stored images
    assert stands_out(0 * here, aside).all()  # a table of answers
    still = np.zeros_like(aside)
    assert not stands_out(still[0], still).any()  # nothing moves anywhere


@pytest.mark.parametrize(("other", "compared", "seen"), [(2, 2, False), (3, 3, True), (7, 28, False), (8, 28, True)])
def test_so_many_may_stand_out_by_chance(other: int, compared: int, seen: bool):
    found = Counts(MemorisationCounts(compared, other))
    assert doubts(found) == (["memorised"] if seen else [])
    chance = binom.sf(other - 1, compared, 0.1)
    assert seen == (other > 2 and chance < 0.01)


def test_probabilities_are_flat_where_they_are_sure_and_not_compared():
    found = result()

    def sure(images: np.ndarray) -> np.ndarray:
        return torch.from_numpy(100 * honest(images)).softmax(1).numpy()

    counts = ask(Memorisation, found, opened(sure), THREAT)[MemorisationCounts]
    assert counts.elsewhere_compared == 0


def test_a_copy_without_memory_tells_of_the_memory():
    model, found = Remembering(), result()
    model(SPLIT.images)
    ask(SingleImage, found, opened(model, lambda: Guarded(Remembering(), CLASSES)), THREAT)
    assert doubts(found.counts) == ["remembering"]
    other = result()
    ask(SingleImage, other, opened(honest, lambda: Guarded(honest, CLASSES)), THREAT)
    ask(SingleImage, result(robust=False), opened(model, lambda: Guarded(Remembering(), CLASSES)), THREAT)
    assert other.counts[FreshCounts].fresh_asked > 20
    # The corners do fool the model, which were put down as withstood here.
    assert other.counts[BatchCounts].unstable > 0


def test_a_model_that_is_honest_to_single_images_alone_is_seen():
    found = result()
    ask(SingleImage, found, opened(lambda images: honest(images) if len(images) == 1 else drawn(images)), THREAT)
    assert doubts(found.counts) == ["unstable"]


@pytest.mark.parametrize("few", [True, False])
def test_a_sample_that_another_batch_flips_counts_as_broken_and_is_named(few: bool, tmp_path: Path):
    """One of 200 samples: the figures are without it and the verdict stands; four of them leave it open."""
    split, rows = draw_split(200), [3] if few else [3, 51, 73, 95]
    flipping, right = split.images[rows].sum((1, 2, 3)), 180

    def answers(images: np.ndarray) -> np.ndarray:
        logits = honest(images)
        odd = np.isin(images.sum((1, 2, 3)), flipping) & (len(images) < 50)
        return np.where(odd[:, None], -logits, logits)

    config = VerifyConfig(square_queries=20, strong_restarts=1, shard_size=100, curve=None)
    small = ThreatModel(norm="Linf", eps=1e-6)
    attack_subject(Answering(answers), Evaluation(split, small, config), ("square",), tmp_path)
    found = Attacked.load(tmp_path)
    (finding,) = [each for each in found.summary["findings"] if each["name"] == "unstable"]  # type: ignore[union-attr]
    assert finding["inconclusive"] is not few
    assert f"count as broken: rows {', '.join(map(str, split.index[rows]))};" in finding["sentence"]
    for bits in found.accuracies().values():
        assert not bits[rows].any()
        assert bits.sum() == right - len(rows)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_an_answer_that_depends_on_how_many_are_asked_is_seen(number: int):
    found = result()
    model = opened(lambda images: honest(images) * (2 if len(images) == number else 1))
    ask(BatchIndependence, found, model, THREAT)
    assert doubts(found.counts) == ["unstable"]


def test_a_surrogate_that_falls_where_the_model_stands_is_no_surrogate():
    found = result()
    counts = ask(SurrogateAgreement, found, opened(drawn), THREAT)[SurrogateCounts]
    assert counts.surrogate_withstood == counts.surrogate_fooled > 2
    assert doubts(found.counts) == ["surrogate-disagrees"]
    fallen = result(robust=False)
    counts = ask(SurrogateAgreement, fallen, opened(honest), THREAT)[SurrogateCounts]
    assert counts.surrogate_fooled > 2
    assert not doubts(fallen.counts)
    assert not doubts(Counts(SurrogateCounts(surrogate_fooled=10, surrogate_withstood=5))), (
        "it may be a somewhat weaker network"
    )
