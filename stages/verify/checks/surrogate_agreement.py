"""Surrogate agreement: whether what fools the model whose gradients stand in fools the subject too (transfer)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks

ASTRAY = 0.5


@dataclass
class SurrogateCounts(Counter):
    """What fools the surrogate that stands in for a twin.

    Attributes:
        surrogate_fooled: samples whose candidates fool the surrogate.
        surrogate_withstood: those of them that are robust.
    """

    surrogate_fooled: int = 0
    surrogate_withstood: int = 0


class SurrogateAgreement(Check[SurrogateCounts]):
    """More than half of what fools the surrogate does not fool the model, and more than two samples.

    The white box attacks another function then, or one that is not all there is.
    """

    name = "surrogate-disagrees"
    counts = SurrogateCounts
    rows = (Row("samples that fool the surrogate", "surrogate_fooled", "withstood", "surrogate_withstood"),)
    rank = 80

    def count(self, shard: Shard) -> SurrogateCounts:
        """Count what fools the surrogate, and what of that the subject withstands."""
        from ..subject.subject import fooled, is_correct

        surrogate, result = shard.opened.surrogate, shard.result
        if surrogate is None:
            return SurrogateCounts()
        candidates, labels = result.candidates, result.split.labels
        right = result.clean_correct & is_correct(surrogate(result.split.images), labels)
        rows = candidates.rows_in(result.split.index)
        astray = right & fooled(surrogate, candidates.images, rows, labels)
        return SurrogateCounts(int(astray.sum()), int((astray & result.robust).sum()))

    def judge(self, counts: SurrogateCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for a surrogate that is a somewhat weaker network."""
        if counts.surrogate_withstood > max(2, ASTRAY * counts.surrogate_fooled):
            yield Finding(
                self.name,
                f"{counts.surrogate_withstood} of {counts.surrogate_fooled} samples that fool the surrogate do not "
                "fool the model; the white box attacks another function, or one that is not all there is",
            )


checks.register(SurrogateAgreement.name)(SurrogateAgreement())
