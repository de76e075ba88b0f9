"""Batch independence: whether an answer depends on the images beside it, on their number, or on when it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ....core.reading.counted import counted
from ..evidence.counts import Counter
from ..evidence.repeat_queries import moved
from .base import Check, Finding, Row, Shard, Tally, checks

# Of the largest logit; kernels for other batch sizes may round an int8 logit one or two steps otherwise.
FAR = 0.05
# As many samples may count as broken for it; more say that the model itself depends on the batch.
ALLOWED = 0.01
_NAMED = 10


@dataclass
class BatchCounts(Counter):
    """Answers in other batches.

    Attributes:
        unstable: samples whose label, or logits by far, depend on the batch they stand in, or change when asked again,
            and those whose worst images are answered otherwise alone.
    """

    unstable: int = 0


class BatchIndependence(Check[BatchCounts]):
    """Samples are answered otherwise in another batch, in one of another size, alone, or when asked again.

    Another label, or logits that move by more than a twentieth of the largest. Such a sample counts as broken, and as
    answered wrongly where any of the labels is wrong, so that no gate passes by it; up to 1 % of the samples are a
    warning. Of teacher and student, beside which others are judged, they are left as they are, and any is a doubt.
    """

    name = "unstable"
    counts = BatchCounts
    rows = (Row("asked again in reversed and in many batches, and alone", None, "unstable", "unstable"),)
    rank = 20

    def count(self, shard: Shard) -> BatchCounts:
        """Ask again, in reverse order and in batches of many sizes: no answer may depend on an image's neighbours."""
        images, predict, clean = shard.result.split.images, shard.opened.predict, shard.clean
        again = predict(images[::-1].copy())[::-1]
        parts = np.concatenate([predict(part.copy()) for part in np.split(images, _ends(len(images)))])
        unstable, misread = np.zeros(len(images), bool), np.zeros(len(images), bool)
        for other in (again, parts):
            flipped = moved(other, clean, 1e-3) & (other.argmax(1) != clean.argmax(1))
            unstable |= flipped | moved(other, clean, FAR)
            misread |= flipped & (other.argmax(1) != shard.result.split.labels)
        return take_in(shard, unstable, misread)

    def judge(self, counts: BatchCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for a few, which have been taken in."""
        if not counts.unstable:
            return
        verb = "is" if counts.unstable == 1 else "are"
        those = counted(counts.unstable, "sample")
        sentence = f"{those} {verb} answered otherwise in another batch, alone, or when asked again"
        if tally.unstable:
            more = f" and {len(tally.unstable) - _NAMED} more" if len(tally.unstable) > _NAMED else ""
            rows = ", ".join(map(str, sorted(tally.unstable)[:_NAMED]))
            sentence += (
                f", and count as broken: rows {rows}{more}; a file whose batch is fixed to 1 has no such samples"
            )
        allowed = ALLOWED * tally.samples if tally.unstable else 0
        yield Finding(self.name, sentence, inconclusive=counts.unstable > allowed)


def take_in(shard: Shard, unstable: np.ndarray, misread: np.ndarray) -> BatchCounts:
    """Count samples `[N]` that are answered otherwise in another batch; see `BatchIndependence`.

    Args:
        shard: the samples.
        unstable: those that were found now.
        misread: those of them whose clean image is answered wrongly somewhere.
    """
    if shard.opened.guard is not None:
        shard.result.count_as_broken(unstable, misread)
        return BatchCounts(int(shard.result.unstable.sum()))
    return BatchCounts(max(shard.result.counts[BatchCounts].unstable, int(unstable.sum())))


def _ends(count: int) -> list[int]:
    """Where batches of 1, 1, 2, 3, 5, 8, ... images end, the last one before `count`."""
    ends, size, following = [0], 1, 1
    while ends[-1] + size < count:
        ends.append(ends[-1] + size)
        size, following = following, size + following
    return ends[1:]


checks.register(BatchIndependence.name)(BatchIndependence())
