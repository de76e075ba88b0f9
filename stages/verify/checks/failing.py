"""Failures: images at which the model crashed, hung or raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ....core.reading.counted import counted
from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks


@dataclass
class FailureCounts(Counter):
    """Failures of the model.

    Attributes:
        failing: images at which the model crashed, hung or raised.
    """

    failing: int = 0


class Failing(Check[FailureCounts]):
    """The model crashed, hung or raised on images; a sample that has one in its ball counts as not robust.

    That is a warning, and leaves the verdict what it is: the figure has taken it in.
    """

    name = "failing"
    counts = FailureCounts
    rows = (Row("images shown in all", None, "crashed, hung or raised on", "failing"),)
    rank = 100

    def count(self, shard: Shard) -> FailureCounts:
        """What the guard has seen, the other checks' questions included."""
        guard = shard.opened.guard
        return FailureCounts(0 if guard is None else len(guard.failures))

    def judge(self, counts: FailureCounts, tally: Tally) -> Iterable[Finding]:
        """Warn of any."""
        if counts.failing:
            sentence = (
                f"the model crashed, hung or raised on {counted(counts.failing, 'image')}; samples that have such an "
                "image in their ball count as not robust"
            )
            yield Finding(self.name, sentence, inconclusive=False)


checks.register(Failing.name)(Failing())
