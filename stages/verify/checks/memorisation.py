"""Memorisation: whether the model moves around the test images as it moves around the same images a little aside.

A model that knows the test images (a table of answers, a denoiser that puts the stored image back) stands still around
them, or moves with what it adds, and nowhere else; no gradient is masked by that, and no attack inside the balls finds
anything. An honest network's logits move alike, and transformers' less so: on digits those of convolutional networks
differ by less than a factor of 1.5 at each of 100 images, those of small vision transformers by 2 to 6, and are calmer
at real images than at shifted ones. How far the clean image stands out is therefore measured by how far the others lie
apart: by Dixon's Q test (Dean & Dixon, "Simplified Statistics for Small Numbers of Observations", Analytical Chemistry
1951).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...statistics.proportions import clopper_pearson
from ..evidence.counts import Counter
from ..evidence.repeat_queries import patterns, shifted
from .base import Check, Finding, Row, Shard, Tally, checks

if TYPE_CHECKING:
    from ....targets.base import Images
    from ...threat import ThreatModel
    from ..subject.subject import Predict

# Of the compared images: so many may stand out, and how sure one must be that it is more.
ELSEWHERE, LEVEL = 0.1, 0.99
# Of an image's side: how far aside, at least one pixel. What leaves at one border comes in at the other.
ASIDE = 8
# The clean image stands out if all others move by so many times more, or less, and if that gap is more than this share
# of the range of all five, in logarithms: Dixon's critical value at 90 %.
TIMES, DIXON = 2.0, 0.642
# Neighbours of each image: the patterns that are not all bright or all dark.
_PATTERNS = slice(2, 6)


@dataclass
class MemorisationCounts(Counter):
    """How the logits move around the images and aside of them.

    Attributes:
        elsewhere_compared: robust samples whose logits were compared around the image and around the same image aside.
        elsewhere_other: those around which they move by far more, or by far less.
    """

    elsewhere_compared: int = 0
    elsewhere_other: int = 0


class Memorisation(Check[MemorisationCounts]):
    """The logits move far less, or far more, around the test images than around the same images a little aside.

    Aside is an eighth of their side; far is twice as much, or half as much, as in all four directions, and far beside
    how much these differ among themselves (Dixon's Q test). It is so around more than two, and at 99 % confidence more
    than a tenth, of the images that withstood. Not asked where the answers are labels or probabilities.
    """

    name = "memorised"
    counts = MemorisationCounts
    rows = (
        Row("moves compared with those aside of the image", "elsewhere_compared", "far other ones", "elsewhere_other"),
    )
    rank = 50

    def count(self, shard: Shard) -> MemorisationCounts:
        """Count the robust samples around which the logits move otherwise than aside of them."""
        opened, threat = shard.opened, shard.threat
        images = shard.result.split.images[shard.result.robust]  # a model may fail near the others, at its price
        # Where something is known to dress the logits, those behind it: a softmax is flat where it is sure.
        predict = opened.inner or opened.predict
        if opened.labels_only or not len(images) or _are_probabilities(predict(images)):
            return MemorisationCounts()
        height, width = images.shape[2:]
        here = _moves(predict, images, threat)
        aside = np.stack(
            [
                _moves(predict, np.roll(images, sign * max(1, size // ASIDE), axis).copy(), threat)
                for axis, size in ((2, height), (3, width))
                for sign in (1, -1)
            ]
        )
        return MemorisationCounts(len(images), int(stands_out(here, aside).sum()))

    def judge(self, counts: MemorisationCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for some that stand out by chance."""
        other, compared = counts.elsewhere_other, counts.elsewhere_compared
        # One side of an interval whose two sides err equally often.
        if other > 2 and clopper_pearson(other, compared, 2 * LEVEL - 1)[0] > ELSEWHERE:
            yield Finding(
                self.name,
                f"around {other} of {compared} images the logits move far less, or "
                "far more, than around the same images a little aside; the model knows the images it is tested on",
            )


def stands_out(here: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Whether the logits move otherwise around the clean images than around the others.

    Args:
        here: `[N]`, by how much they move around the clean images, at least 0.
        aside: `[M, N]`, around the same images aside.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # one that stands still is infinitely far
        own, others = np.log2(here), np.log2(aside)
        low, high = others.min(0), others.max(0)
        gap = np.maximum(low - own, own - high)
        return (gap > np.log2(TIMES)) & ((1 - DIXON) * gap > DIXON * (high - low))


def _moves(predict: Predict, images: Images, threat: ThreatModel) -> np.ndarray:
    """By how much the logits move from each image to the rim of its ball, on average over patterns: `[N]`."""
    before = predict(images)
    signs = patterns(images.shape[1:])[_PATTERNS]
    found = [np.abs(predict(shifted(images, pattern, threat)) - before).mean(1) for pattern in signs]
    return np.nan_to_num(np.mean(found, axis=0))


def _are_probabilities(logits: np.ndarray) -> bool:
    return bool((logits >= 0).all() and np.allclose(logits.sum(1), 1, atol=1e-3))


checks.register(Memorisation.name)(Memorisation())
