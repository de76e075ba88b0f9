"""Batch independence: whether an answer depends on the images beside it, on their number, or on when it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..evidence.counts import Counter
from ..evidence.repeat_queries import moved
from .base import Check, Finding, Row, Shard, Tally, checks

# Of the largest logit; kernels for other batch sizes may round an int8 logit one or two steps otherwise.
FAR = 0.05


@dataclass
class BatchCounts(Counter):
    """Answers in other batches.

    Attributes:
        unstable: samples whose label, or logits by far, depend on the batch they stand in, or change when asked again.
            Worst images that are answered otherwise alone count here too: of a shard, the larger number of both.
    """

    unstable: int = 0


class BatchIndependence(Check[BatchCounts]):
    """Samples are answered otherwise in another batch, in one of another size, alone, or when asked again.

    Every single one counts: another label, or logits that move by more than a twentieth of the largest.
    """

    name = "unstable"
    counts = BatchCounts
    rows = (Row("asked again in reverse order, in batches of many sizes, and alone", None, "unstable", "unstable"),)
    rank = 20

    def count(self, shard: Shard) -> BatchCounts:
        """Ask again, in reverse order and in batches of many sizes: no answer may depend on an image's neighbours."""
        images, predict, clean = shard.result.split.images, shard.opened.predict, shard.clean
        again = predict(images[::-1].copy())[::-1]
        parts = np.concatenate([predict(part.copy()) for part in np.split(images, _ends(len(images)))])
        unstable = 0
        for other in (again, parts):
            flipped = moved(other, clean, 1e-3) & (other.argmax(1) != clean.argmax(1))
            unstable = max(unstable, int((flipped | moved(other, clean, FAR)).sum()))
        return BatchCounts(unstable)

    def judge(self, counts: BatchCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for none."""
        if counts.unstable:
            sentence = f"{counts.unstable} samples are answered otherwise in another batch, or when asked again"
            yield Finding(self.name, sentence)


def _ends(count: int) -> list[int]:
    """Where batches of 1, 1, 2, 3, 5, 8, ... images end, the last one before `count`."""
    ends, size, following = [0], 1, 1
    while ends[-1] + size < count:
        ends.append(ends[-1] + size)
        size, following = following, size + following
    return ends[1:]


checks.register(BatchIndependence.name)(BatchIndependence())
