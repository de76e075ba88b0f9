"""Memorisation: whether the model moves around the test images as it moves around the same images a little aside.

A model that knows the test images (a table of answers, a denoiser that puts the stored image back) stands still around
them, or moves with what it adds, and nowhere else; no gradient is masked by that, and no attack inside the balls finds
anything. An honest network's logits move alike: on digits those of a robust network, of plain ones and of networks
behind roundings differ by less than a factor of 1.5 at each of 100 images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evidence.counts import Counter
from ..evidence.repeat_queries import patterns, shifted
from .base import Check, Finding, Row, Shard, Tally, checks

if TYPE_CHECKING:
    from ....targets.base import Images
    from ...threat import ThreatModel
    from ..subject.subject import Predict

# Of the compared images: so many may stand out.
ELSEWHERE = 0.1
# Of an image's side: how far aside, at least one pixel. What leaves at one border comes in at the other.
ASIDE = 8
# The clean image stands out if all its neighbours move by so many times more, or less.
TIMES = 2.0
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

    Aside is an eighth of their side; far is twice as much, or half as much, in all four directions; around more than a
    tenth of the images that withstood, and more than two. Not asked where the answers are labels or probabilities.
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
        stands_out = (here * TIMES < aside.min(0)) | (here > TIMES * aside.max(0))
        return MemorisationCounts(len(images), int(stands_out.sum()))

    def judge(self, counts: MemorisationCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for some that stand out by chance."""
        if counts.elsewhere_other > max(2, ELSEWHERE * counts.elsewhere_compared):
            yield Finding(
                self.name,
                f"around {counts.elsewhere_other} of {counts.elsewhere_compared} images the logits move far less, or "
                "far more, than around the same images a little aside; the model knows the images it is tested on",
            )


def _moves(predict: Predict, images: Images, threat: ThreatModel) -> np.ndarray:
    """By how much the logits move from each image to the rim of its ball, on average over patterns: `[N]`."""
    before = predict(images)
    signs = patterns(images.shape[1:])[_PATTERNS]
    found = [np.abs(predict(shifted(images, pattern, threat)) - before).mean(1) for pattern in signs]
    return np.nan_to_num(np.mean(found, axis=0))


def _are_probabilities(logits: np.ndarray) -> bool:
    return bool((logits >= 0).all() and np.allclose(logits.sum(1), 1, atol=1e-3))


checks.register(Memorisation.name)(Memorisation())
