"""Screening teachers: the order of planted candidates, and that nothing but validation and training is looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.distill.training.selection import pgd_attack
from edgeproof.stages.teacher.screening import (
    Answers,
    Sample,
    draw_sample,
    guesses,
    hard_images,
    screen,
    strong_enough,
    suggested_order,
)
from edgeproof.stages.threat import ThreatModel
from torch import nn

from tests.stages.teacher.brightness import CLASSES, Bright, bright_dataset

SHAPE = (3, 8, 8)
THREAT = ThreatModel(eps=0.03)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return draw_sample(bright_dataset(SHAPE), 200, seed=0)


class Noise(Bright):
    """It has learnt nothing: the same answer for all images, and a tired one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 0.01 * torch.cos(torch.arange(CLASSES) + 0 * super().forward(images))


def figures(model: nn.Module, sample: Sample) -> Answers:
    return screen(model.eval(), sample, THREAT, "planted")


def ranked(candidates: dict[str, nn.Module], sample: Sample) -> list[str]:
    found = [figures(model, sample) for model in candidates.values()]
    hard = hard_images(found, sample)
    assert 10 < hard.sum() < len(hard)
    order = suggested_order(
        [answers.clean.mean() for answers in found],
        [answers.robust.mean() for answers in found],
        [float(answers.entropy[hard].mean()) for answers in found],
    )
    return [list(candidates)[place] for place in order]


def test_planted_teachers_come_out_in_the_right_order(sample: Sample):
    """Two that decide alike, one overconfident and named first, and one that is broken and most uncertain of all."""
    candidates = {"overconfident": Bright(sharpness=2000), "broken": Noise(), "soft": Bright(sharpness=200)}
    assert ranked(candidates, sample) == ["soft", "overconfident", "broken"]


def test_the_two_differ_in_nothing_but_entropy(sample: Sample):
    """So that the test above fails if entropy is ignored."""
    soft, sharp = figures(Bright(sharpness=200), sample), figures(Bright(sharpness=2000), sample)
    assert (soft.clean == sharp.clean).all()
    assert (soft.robust == sharp.robust).all()
    assert soft.entropy[~soft.robust].mean() > 2 * sharp.entropy[~sharp.robust].mean()


def test_confidence_does_not_hide_a_candidate_from_the_attack(sample: Sample):
    """Plain PGD sees no gradient through a saturated softmax; ours does."""
    model = Bright(sharpness=1e7).eval()
    images, labels = torch.from_numpy(sample.split.images), torch.from_numpy(sample.split.labels)
    plain = pgd_attack(model, images, labels, THREAT, steps=20, seed=0)
    with torch.no_grad():
        flattered = (model(plain).argmax(1) == labels).float().mean()
    truth = figures(Bright(sharpness=200), sample).robust
    assert flattered > truth.mean() + 0.1
    assert (figures(model, sample).robust == truth).all()


def test_robustness_here_is_what_geometry_says(sample: Sample):
    """An image is robust when its mean is further than eps from the border to the next class."""
    brightness = sample.split.images.mean((1, 2, 3))
    border = np.abs(brightness[:, None] - np.arange(1, CLASSES) / CLASSES).min(1)
    clear = np.abs(border - THREAT.eps) > 0.003  # the attack stops short of eps by rounding and clipping
    expected = border > THREAT.eps
    assert (figures(Bright(), sample).robust[clear] == expected[clear]).all()


@pytest.mark.parametrize(
    ("clean", "robust", "entropy", "order"),
    [
        # LTD WRN-34-10 against Bartoldson WRN-94-16 (AutoAttack accuracies, CIFAR-10): entropy decides.
        ((0.937, 0.852), (0.737, 0.569), (0.4, 1.6), [1, 0]),
        # Far weaker ones stay behind, however uncertain.
        ((0.937, 0.852), (0.737, 0.300), (0.4, 1.6), [0, 1]),
        ((0.937, 0.600), (0.600, 0.590), (0.4, 1.6), [0, 1]),
        # Those that are too weak stand by PGD accuracy.
        ((0.9, 0.9, 0.9), (0.7, 0.2, 0.3), (0.1, 2.0, 1.0), [0, 2, 1]),
        # No image was hard.
        ((0.9, 0.9), (0.5, 0.6), (None, None), [1, 0]),
        ((0.9,), (0.0,), (1.0,), [0]),
    ],
)
def test_the_rule(clean, robust, entropy, order):
    assert suggested_order(clean, robust, entropy) == order


def test_strong_enough_is_relative_to_the_best():
    assert strong_enough((1.0, 0.86, 0.84, 1.0), (0.8, 0.61, 0.8, 0.59)) == [True, True, False, False]


def answers(robust: list[int], clean: list[int] | None = None) -> Answers:
    bits = np.array(robust, bool)
    return Answers(np.ones(len(bits), bool) if clean is None else np.array(clean, bool), bits, np.ones(len(bits)), 1.0)


def small(count: int, sample: Sample) -> Sample:
    return Sample(sample.split.take(slice(0, count)), count)


def test_hard_is_what_half_of_those_that_know_something_fail_on(sample: Sample):
    few = small(20, sample)
    good, middling = answers([1] * 10 + [0] * 10), answers([1] * 5 + [0] * 15)
    assert hard_images([good], few).tolist() == [False] * 10 + [True] * 10
    assert hard_images([good, middling], few).sum() == 15
    assert hard_images([good, good, middling], few).sum() == 10
    guess = answers([0] * 20, [1] + [0] * 19)
    assert guesses(guess, few)
    assert not guesses(good, few)
    assert (hard_images([good, guess], few) == hard_images([good], few)).all()
    assert hard_images([guess], few).all()  # nobody else is there to vote


def test_the_sample_is_seeded_by_class_and_never_of_the_test_split():
    data = bright_dataset(SHAPE)
    one, same, other = (draw_sample(data, 200, seed) for seed in (0, 0, 1))
    assert (one.split.index == same.split.index).all()
    assert (one.split.index != other.split.index).any()
    assert one.held_out == 100
    assert set(one.split.index[:100]) <= set(data.validation.index)
    assert set(one.split.index[100:]) <= set(data.train.index)
    assert np.bincount(one.split.labels).tolist() == [20] * CLASSES
    assert np.isfinite(one.split.images).all()


def test_a_small_validation_split_is_used_up_and_training_fills_the_rest():
    data = bright_dataset(SHAPE)
    data = replace(data, validation=data.validation.take(slice(0, 30)))
    assert draw_sample(data, 200, 0).held_out == 30
    assert len(draw_sample(data, 200, 0).split) == 200
    assert draw_sample(data, 425, 0).held_out == 30


@pytest.mark.parametrize("count", [0, 1, 701])
def test_samples_that_are_not_there(count: int):
    with pytest.raises(UsageError, match=rf"^samples: must be from 2 to 700, .* got {count}$"):
        draw_sample(bright_dataset(SHAPE), count, 0)


@pytest.mark.parametrize(
    ("last", "words"), [(nn.Softmax(1), "answers with probabilities"), (nn.Threshold(1e9, float("nan")), "not finite")]
)
def test_candidates_that_answer_with_something_else(sample: Sample, last: nn.Module, words: str):
    with pytest.raises(UsageError, match=rf"^theirs: .*{words}"):
        screen(nn.Sequential(Bright(), last).eval(), sample, THREAT, "theirs")
