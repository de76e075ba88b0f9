"""Inner logits against the answer: what stands behind the last layer, and whether it hides logits that are fooled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks
from .twin_agreement import TWIN_CLEAN
from .white_box_audit import WhiteBoxCounts, allowance


@dataclass
class HiddenLogitsCounts(Counter):
    """Inner logits, where something hides them.

    Attributes:
        hidden: robust samples on which the graph's inner logits are fooled and its answer is not.
        inner_agreeing: clean images on which inner logits and answer give the same label.
        inner_compared: how many were compared (0 where nothing hides the inner logits).
    """

    hidden: int = 0
    inner_agreeing: int = 0
    inner_compared: int = 0


class HiddenLogits(Check[HiddenLogitsCounts]):
    """Samples are robust only behind the last layer, whose own logits are fooled.

    Allowed are max(2, 0.5 %) of the samples that the white box left standing. What stands there (a table of answers, a
    softmax, an arg max) hides the logits, or remembers the images.
    """

    name = "hidden-logits"
    counts = HiddenLogitsCounts
    rows = (
        Row("clean labels compared with the inner logits", "inner_compared", "the same", "inner_agreeing"),
        Row("candidates shown to the inner logits", "inner_compared", "robust only behind them", "hidden"),
    )
    rank = 60

    def count(self, shard: Shard) -> HiddenLogitsCounts:
        """Count what fools the last layer and not what stands behind it."""
        from ..subject.subject import fooled

        inner, result = shard.opened.inner, shard.result
        if inner is None:
            return HiddenLogitsCounts()
        agreeing = int((inner(result.split.images).argmax(1) == shard.clean.argmax(1)).sum())
        rows = result.candidates.rows_in(result.split.index)
        inside = fooled(inner, result.candidates.images, rows, result.split.labels)
        return HiddenLogitsCounts(int((result.robust & inside).sum()), agreeing, len(shard.clean))

    def judge(self, counts: HiddenLogitsCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for as many as other routes may find."""
        allowed = allowance(tally.counts[WhiteBoxCounts].standing)
        if counts.hidden > allowed:
            yield Finding(
                self.name,
                f"{counts.hidden} samples are robust only behind the last layer, whose own logits are fooled "
                f"(allowed: {allowed:g}); what stands there hides them, or remembers the images",
            )


def undressed(tally: Tally) -> bool:
    """Whether the logits behind the answer were attacked themselves: how the answer is dressed does not matter then."""
    inner = tally.counts[HiddenLogitsCounts]
    return inner.inner_compared > 0 and inner.inner_agreeing >= TWIN_CLEAN * inner.inner_compared - 1


checks.register(HiddenLogits.name)(HiddenLogits())
