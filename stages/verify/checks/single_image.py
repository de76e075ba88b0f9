"""Single images and a fresh copy (statefulness): the worst ones again, each alone, and by a copy that has seen none.

A model may know an attack by what stands in the same batch, or by what it was asked before (Chen, Carlini & Wagner,
"Stateful Detection of Black-Box Adversarial Attacks", 2019, arXiv 1907.05587); whoever deploys it shows it one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evidence.counts import Counter
from ..evidence.repeat_queries import moved
from .base import Check, Finding, Row, Shard, Tally, checks
from .batch_independence import FAR, take_in
from .changed_answers import ALLOWED_CHANGES

if TYPE_CHECKING:
    from ....targets.base import Images, Logits
    from ..evidence.shard_result import ShardResult
    from ..subject.subject import OpenedSubject, Predict

# Of a shard's robust samples.
ASKED = 64


@dataclass
class FreshCounts(Counter):
    """Answers of a fresh copy.

    Attributes:
        fresh_asked: images that a copy of the model was asked about which had seen no other.
        fresh_changed: those of them that it answered otherwise.
    """

    fresh_asked: int = 0
    fresh_changed: int = 0


class SingleImage(Check[FreshCounts]):
    """More than 1 % of the images that came nearest to an error get another answer of a copy that has seen no other.

    Asked of functions, which may keep a memory. Where an image that stands alone gets another answer, that is
    `unstable`.
    """

    name = "remembering"
    counts = FreshCounts
    rows = (Row("asked a copy that has seen no other image", "fresh_asked", "answered otherwise", "fresh_changed"),)
    rank = 40

    def count(self, shard: Shard) -> FreshCounts:
        """Count robust samples whose worst candidate gets another answer alone, or from a fresh copy."""
        opened, counts = shard.opened, FreshCounts()
        images, samples = _worst(shard.result, opened)
        labels = shard.result.split.labels[samples]
        if not len(images):
            return counts
        together, alone = opened.predict(images), _singly(opened.predict, images)
        # All were answered rightly among an attack's other images. Alone is a batch too.
        unstable = np.zeros(len(shard.batch), bool)
        unstable[samples[_otherwise(alone, together, labels)]] = True
        shard.result.counts.put(take_in(shard, unstable, np.zeros_like(unstable)))
        if opened.fresh is not None:
            with closing(opened.fresh()) as copy:
                counts = FreshCounts(len(images), int(_otherwise(_singly(copy, images), alone, labels).sum()))
        return counts

    def judge(self, counts: FreshCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for as few as may change between two calls."""
        if counts.fresh_changed > ALLOWED_CHANGES * counts.fresh_asked:
            yield Finding(
                self.name,
                f"{counts.fresh_changed} of {counts.fresh_asked} images are answered otherwise by a copy of the model "
                "that has seen no other; it is random, or keeps a memory",
            )


def _worst(result: ShardResult, opened: OpenedSubject) -> tuple[Images, np.ndarray]:
    """Of each robust sample the candidate that a stand-in finds the worst, up to ASKED in all, and the samples.

    The last gradient's forward is that of another function where the subject is a Python function: it has no memory.
    """
    from ...margin import margins
    from ..subject.subject import in_batches

    found, labels = result.candidates, result.split.labels
    rows = found.rows_in(result.split.index)
    left = np.flatnonzero(result.robust[rows])
    models = list(opened.gradient_sources.values())
    judge = in_batches(models[-1]) if models else opened.predict
    leads = margins(np.nan_to_num(judge(found.images[left])), labels[rows[left]])
    by_lead = left[np.argsort(leads, kind="stable")]
    _, first = np.unique(rows[by_lead], return_index=True)
    chosen = by_lead[np.sort(first)[:ASKED]]
    return found.images[chosen], rows[chosen]


def _singly(predict: Predict, images: Images) -> Logits:
    return np.concatenate([predict(images[row : row + 1]) for row in range(len(images))])


def _otherwise(now: Logits, before: Logits, labels: np.ndarray) -> np.ndarray:
    from ..subject.subject import is_correct

    return ~is_correct(now, labels) | moved(now, before, FAR)


checks.register(SingleImage.name)(SingleImage())
