"""Plausibility of clean answers: planted faults are named, honest weak models are not."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from edgeproof.stages.data import Split
from edgeproof.stages.plausibility import Variant, plausibility

CLASSES, SIZE = 5, 8
BRIGHTER = Variant("--scale 2", lambda images: images * 2)


def task(count: int, seed: int = 0) -> Split:
    """Images that are bright in the one of five columns that is their class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.uniform(0, 0.4, (count, 1, SIZE, CLASSES)).astype(np.float32)
    images[np.arange(count), 0, :, labels] += np.float32(0.15)
    return Split(images, labels, np.arange(count))


def columns(images: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Logits that a model of a strength would give: the columns' means and noise."""
    logits = images.mean((1, 2))
    return (logits + np.random.default_rng(seed).normal(0, noise, logits.shape)).astype(np.float32)


def test_an_honest_model():
    found = plausibility(partial(columns, noise=0.03), task(200), [BRIGHTER])
    assert (found.better, found.permuted, found.guesses, found.finite) == (None, None, False, 200)


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
def test_fifty_weak_models_raise_no_alarm_but_that_they_guess(noise: float):
    for seed in range(50):
        found = plausibility(partial(columns, noise=noise, seed=seed), task(120, seed))
        assert (found.better, found.permuted) == (None, None)


def test_other_pixels():
    def wants_double(images: np.ndarray) -> np.ndarray:
        return columns(images, 0.0 if images.max() > 0.8 else 0.3)

    found = plausibility(wants_double, task(200), [Variant("--scale 0.5", lambda images: images / 2), BRIGHTER])
    assert found.better is not None
    assert found.better[0] is BRIGHTER
    assert found.better[1] > found.correct


def test_two_things_at_once_are_found_and_one_is_said_where_it_is_enough():
    def doubled(images: np.ndarray) -> np.ndarray:
        return images * 2

    def on_their_side(images: np.ndarray) -> np.ndarray:
        return images[:, :, ::-1]

    def both(images: np.ndarray) -> np.ndarray:
        return on_their_side(doubled(images))

    variants = [Variant("both", both, 2), Variant("double", doubled), Variant("upside down", on_their_side)]

    def wants_both(images: np.ndarray) -> np.ndarray:
        upside_down = images[:, 0, 0].mean() > images[:, 0, -1].mean()
        return columns(images, 0.0 if images.max() > 0.8 and upside_down else 0.3)

    def wants_double(images: np.ndarray) -> np.ndarray:
        return columns(images, 0.0 if images.max() > 0.8 else 0.3)

    split = task(200)
    split.images[:, :, -1] += np.float32(0.1)
    for wants, said in ((wants_both, "both"), (wants_double, "double")):
        found = plausibility(wants, split, variants)
        assert found.better is not None
        assert found.better[0].said == said


def test_what_the_images_do_not_tell_apart_is_named_beside_the_best():
    def wants_brighter(images: np.ndarray) -> np.ndarray:
        return columns(images, 0.0 if images.max() > 0.8 else 0.3)

    twice, thrice, darker = (Variant(f"{by:g}", lambda images, by=by: images * by) for by in (2, 3, 0.5))
    found = plausibility(wants_brighter, task(200), [twice, darker, thrice])
    assert found.better is not None
    assert {found.better[0].said, *(each.said for each in found.alike)} == {"2", "3"}


def test_labels_in_another_order():
    order = np.array([2, 0, 1, 4, 3])  # the model's class of each of ours
    found = plausibility(lambda images: columns(images)[:, np.argsort(order)], task(200))
    assert found.permuted == tuple(np.argsort(order).tolist())
    judged, plain, turned = found.judged
    assert (judged, turned > 0.9 * judged, plain < 0.3 * judged) == (100, True, True)


def test_a_permutation_needs_images_enough():
    found = plausibility(lambda images: columns(images)[:, ::-1], task(40))
    assert found.permuted is None


def test_classes_that_are_masked():
    split = task(200)

    def of(*lowest: int, nan: bool = False) -> tuple[int, ...]:
        answers = columns(split.images)
        answers[:, list(lowest)] = -np.inf
        answers[7, 0] = np.nan if nan else answers[7, 0]
        return plausibility(lambda _: answers, split).masked

    assert of() == ()
    assert of(1) == (1,)
    assert of(1, nan=True) == ()
    assert of(*range(columns(split.images).shape[1])) == ()


def test_guesses_and_rows_that_are_no_numbers():
    def masked(images: np.ndarray) -> np.ndarray:
        logits = np.random.default_rng(0).normal(size=(len(images), CLASSES)).astype(np.float32)
        logits[:10, -1] = -np.inf
        return logits

    found = plausibility(masked, task(150))
    assert (found.guesses, found.finite) == (True, 140)
