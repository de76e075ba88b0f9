"""Flat logits: whether the answers are the same to the last bit all over the ball, where no search finds its way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evidence.counts import Counter
from .attack_warnings import in_question
from .base import Check, Finding, Row, Shard, Tally, checks

FLAT = 0.1


@dataclass
class FlatCounts(Counter):
    """Answers around the images.

    Attributes:
        flat: samples whose logits are the same to the last bit all over the ball, as far as was looked.
        flat_compared: how many were looked at.
    """

    flat: int = 0
    flat_compared: int = 0


class FlatAnswers(Check[FlatCounts]):
    """The answers to more than a tenth of the images are the same to the last bit all around them.

    Said only where no logits behind the answers were attacked, and the answers are more than labels.
    """

    name = "flat"
    counts = FlatCounts
    rows = (Row("asked about all around before the attacks", "flat_compared", "the same to the last bit", "flat"),)
    rank = 35

    def count(self, shard: Shard) -> FlatCounts:
        """What was seen before the attacks."""
        return FlatCounts(shard.before.flat, len(shard.result.split))

    def judge(self, counts: FlatCounts, tally: Tally) -> Iterable[Finding]:
        """Say so where nothing else does."""
        if counts.flat > FLAT * counts.flat_compared and in_question(tally):
            yield Finding(
                self.name,
                f"the answers to {counts.flat} of {counts.flat_compared} images are the same to the last bit all "
                "around them; nothing tells a search where to go",
            )


checks.register(FlatAnswers.name)(FlatAnswers())
