"""Repeat queries: whether what was asked before the attacks is answered otherwise after them (stateful defences)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks

ALLOWED_CHANGES = 0.01


@dataclass
class RepeatCounts(Counter):
    """Answers before and after the attacks.

    Attributes:
        asked_again: images that were asked about before and after the attacks.
        changed: those of them whose logits moved.
    """

    asked_again: int = 0
    changed: int = 0


class ChangedAnswers(Check[RepeatCounts]):
    """More than 1 % of the answers to the images and their neighbours in the ball are others after the attacks.

    The model is random, has learnt from the attacks, or keeps a memory.
    """

    name = "changing"
    counts = RepeatCounts
    rows = (Row("asked again after the attacks", "asked_again", "answered otherwise", "changed"),)
    rank = 30

    def count(self, shard: Shard) -> RepeatCounts:
        """Ask again: nobody may have learnt from the attacks, or grown tired of them."""
        return RepeatCounts(shard.before.asked, shard.before.moved(shard.opened.predict))

    def judge(self, counts: RepeatCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for a few that a GPU rounds otherwise."""
        if counts.changed > ALLOWED_CHANGES * counts.asked_again:
            yield Finding(
                self.name,
                f"{counts.changed} of {counts.asked_again} images are answered otherwise after the attacks than before "
                "them; the model is random, or keeps a memory",
            )


checks.register(ChangedAnswers.name)(ChangedAnswers())
