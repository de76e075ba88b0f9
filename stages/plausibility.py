"""Plausibility of a classifier's clean answers: guessing, other pixels than it was trained on, permuted labels.

A network that is fed other pixels than it was trained on, or whose classes stand in another order, still answers, only
worse; whatever is measured of its robustness then means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import Split

Images = NDArray[np.float32]

# One model in a thousand that guesses passes for one that knows something.
CHANCE = 1e-3
# A model that is this good takes the right pixels and has the right labels: nothing else is tried.
GOOD = 0.95
# Something else must be better on the same images by an exact McNemar test, one-sided, at this level for all together
# that is tried on an honest model.
LEVEL = 1e-4
# What takes more options to say must be better than what takes fewer at this one.
MORE = 1e-2
# And it must take away this share of the errors: what was hardly trained may be a little better on anything.
RIGHTED = 0.5
# What Caffe's models, and Keras's of that kind, take off pixels from 0 to 255; red first here.
CAFFE = (123.68, 116.779, 103.939)
# One in so many of the images is shown first, of what is then mostly dropped.
_SCREEN = 4
# Images by which a permutation of labels is fitted, and as many by which it is judged: at least, and for each class.
_FITTED, _OF_A_CLASS = 25, 2


@dataclass(frozen=True)
class Variant:
    """Other pixels that a model may have been trained on.

    Attributes:
        said: how a user says so.
        turned: images in [0, 1], `[N, C, H, W]`, as these pixels.
        parts: how many things differ at once.
    """

    said: str
    turned: Callable[[Images], Images]
    parts: int = 1


@dataclass(frozen=True)
class Plausibility:
    """What clean answers look like.

    Attributes:
        count: images that were asked about.
        finite: of these with finite answers.
        masked: the classes whose logits are -inf, where that is all that is not finite.
        correct: answered rightly as they are.
        better: other pixels on which clearly more are, the best of them, and how many.
        alike: others that these images do not tell from the best: as few things differ, and chance may explain the
            rest. Only who trained the model knows which it is.
        permuted: a permutation of the labels by which clearly more are right, the data set's class by the model's;
            fitted on one half of the images and judged on the other.
        judged: by how many images it was judged, how many are right without it, and how many with it.
        guesses: whether as many would be right by chance.
    """

    count: int
    finite: int
    masked: tuple[int, ...]
    correct: int
    better: tuple[Variant, int] | None
    alike: tuple[Variant, ...]
    permuted: tuple[int, ...] | None
    judged: tuple[int, int, int]
    guesses: bool


def plausibility(
    predict: Callable[[Images], NDArray[np.float32]], split: Split, variants: Sequence[Variant] = ()
) -> Plausibility:
    """Look at a classifier's answers to clean images.

    Args:
        predict: images in [0, 1], `[N, C, H, W]`, to logits `[N, K]`.
        split: the images and their labels; a few hundred are enough.
        variants: other pixels to try.
    """
    answers = predict(split.images)
    right = answers.argmax(1) == split.labels
    good = right.mean() >= GOOD
    better, alike = (None, ()) if good else _better(predict, split, right, variants)
    permuted, judged = (None, (0, 0, 0)) if good else _permuted(answers, split.labels)
    return Plausibility(
        len(split),
        int(np.isfinite(answers).all(1).sum()),
        _masked(answers),
        int(right.sum()),
        better,
        alike,
        permuted,
        judged,
        _by_chance(int(right.sum()), split.labels),
    )


def _masked(answers: NDArray[np.float32]) -> tuple[int, ...]:
    lowest = np.isneginf(answers)
    only = (np.isfinite(answers) | lowest).all() and not lowest.all(1).any()
    return tuple(np.flatnonzero(lowest.any(0)).tolist()) if only else ()


def usual_pixels(images: Images) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Mean and std of what people train with: [-1, 1], [0, 255], the data's own; for colours ImageNet's, and Caffe's.

    Args:
        images: of the data set, in [0, 1].
    """
    yield (0.5,), (0.5,)
    yield (0.0,), (1 / 255,)
    mean, std = images.mean((0, 2, 3), dtype=np.float64), images.std((0, 2, 3), dtype=np.float64)
    yield tuple(mean.round(4).tolist()), tuple(np.maximum(std, 1e-3).round(4).tolist())
    if images.shape[1] == 3:
        yield (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        yield tuple(value / 255 for value in CAFFE), (1 / 255,) * 3


def normalized(images: Images, mean: tuple[float, ...], std: tuple[float, ...]) -> Images:
    """`(images - mean) / std` of images `[N, C, H, W]`; one number a channel, or one for all."""
    shift, width = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return (images - shift) / width


def _by_chance(correct: int, labels: NDArray[np.int64]) -> bool:
    from scipy.stats import binom  # over a second

    chance = np.bincount(labels).max() / len(labels)
    return bool(binom.sf(correct - 1, len(labels), chance) > CHANCE)


def _clearly(better: NDArray[np.bool_], worse: NDArray[np.bool_], level: float = LEVEL) -> bool:
    """Whether one is right so much more often than the other on the same images that it is no chance."""
    return _rights(better, worse, RIGHTED) and _by_luck(better, worse) < level


def _rights(better: NDArray[np.bool_], worse: NDArray[np.bool_], share: float) -> bool:
    """Whether one takes away a share of the other's errors, net."""
    return int(better.sum()) - int(worse.sum()) >= share * int((~worse).sum())


def _by_luck(better: NDArray[np.bool_], worse: NDArray[np.bool_]) -> float:
    """The p-value of the exact McNemar test, one-sided."""
    from scipy.stats import binom

    gained, lost = int((better & ~worse).sum()), int((worse & ~better).sum())
    return float(binom.sf(gained - 1, gained + lost, 0.5))


def _better(
    predict: Callable[[Images], NDArray[np.float32]],
    split: Split,
    right: NDArray[np.bool_],
    variants: Sequence[Variant],
) -> tuple[tuple[Variant, int] | None, tuple[Variant, ...]]:
    def rights_on(variant: Variant, rows: slice) -> NDArray[np.bool_]:
        pixels = np.ascontiguousarray(variant.turned(split.images[rows]), np.float32)
        return predict(pixels).argmax(1) == split.labels[rows]

    few = -(-len(split) // _SCREEN)
    best: tuple[Variant, NDArray[np.bool_]] | None = None
    clear: list[tuple[Variant, NDArray[np.bool_]]] = []
    for variant in sorted(variants, key=lambda each: each.parts):
        first = rights_on(variant, slice(few))
        if not _rights(first, right[:few], RIGHTED / 2):
            continue
        # No model need answer no image at all.
        rights = np.concatenate([first, rights_on(variant, slice(few, None))]) if few < len(split) else first
        if not _clearly(rights, right, LEVEL / len(variants)):
            continue
        clear.append((variant, rights))
        more = best is not None and variant.parts > best[0].parts
        if best is None or (rights.sum() > best[1].sum() and (not more or _by_luck(rights, best[1]) < MORE)):
            best = variant, rights
    if best is None:
        return None, ()
    chosen, found = best
    alike = tuple(
        each
        for each, rights in clear
        if each is not chosen and each.parts == chosen.parts and _by_luck(found, rights) >= MORE
    )
    return (chosen, int(found.sum())), alike


def _permuted(
    answers: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[tuple[int, ...] | None, tuple[int, int, int]]:
    """The best permutation by one half of the images, where it is clearly better on the other."""
    from scipy.optimize import linear_sum_assignment  # as long as scipy.stats

    classes = answers.shape[1]
    order = np.random.default_rng(0).permutation(len(labels))
    fitted, kept = order[: len(order) // 2], order[len(order) // 2 :]
    if len(fitted) < max(_FITTED, _OF_A_CLASS * classes) or labels.max() >= classes:
        return None, (0, 0, 0)
    told = answers.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (told[fitted], labels[fitted]), 1)
    model, named = linear_sum_assignment(confusion, maximize=True)
    # Of equally good permutations the one that moves the fewest classes would be fairest; the test sees to the rest.
    to_label = np.empty(classes, np.int64)
    to_label[model] = named
    plain, turned = told[kept] == labels[kept], to_label[told[kept]] == labels[kept]
    judged = len(kept), int(plain.sum()), int(turned.sum())
    return (tuple(to_label.tolist()) if _clearly(turned, plain) else None), judged
