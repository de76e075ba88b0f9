"""Twin agreement: whether the differentiable twin and the engine give the same labels."""

from __future__ import annotations

from dataclasses import dataclass

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks

TWIN_CLEAN = 0.99
TWIN_ADVERSARIAL = 0.98


@dataclass
class TwinCounts(Counter):
    """Labels of twin and engine.

    Attributes:
        clean_agreeing: clean images on which twin and engine give the same label.
        clean_compared: how many were compared (0 without a twin).
        adversarial_agreeing: candidates on which they do.
        adversarial_compared: how many were compared.
    """

    clean_agreeing: int = 0
    clean_compared: int = 0
    adversarial_agreeing: int = 0
    adversarial_compared: int = 0


class TwinAgreement(Check[TwinCounts]):
    """The twin disagrees with the engine, so that the white box attacks another function.

    Needed are the same labels on 99 % of the clean images and 98 % of all candidates; one image of a few may differ.
    """

    name = "twin-disagrees"
    counts = TwinCounts
    rows = (
        Row("clean labels compared with the twin", "clean_compared", "the same", "clean_agreeing"),
        Row("adversarial labels compared with the twin", "adversarial_compared", "the same", "adversarial_agreeing"),
    )
    rank = 70

    def count(self, shard: Shard) -> TwinCounts:
        """Compare the labels of twin and subject on clean images and on all candidates."""
        twin, candidates = shard.opened.twin, shard.result.candidates.images
        if twin is None:
            return TwinCounts()
        clean = int((twin(shard.result.split.images).argmax(1) == shard.clean.argmax(1)).sum())
        counts = TwinCounts(clean, len(shard.clean), 0, len(candidates))
        if len(candidates):
            same = twin(candidates).argmax(1) == shard.opened.predict(candidates).argmax(1)
            counts.adversarial_agreeing = int(same.sum())
        return counts

    def judge(self, counts: TwinCounts, tally: Tally) -> list[Finding]:
        """Hold too many differences against it."""
        return [
            Finding(
                self.name,
                f"twin and engine agree on {agreeing / compared:.1%} of {kind} images "
                f"(needed: {least:.0%}); the white box attacks another function",
            )
            for kind, agreeing, compared, least in (
                ("clean", counts.clean_agreeing, counts.clean_compared, TWIN_CLEAN),
                ("adversarial", counts.adversarial_agreeing, counts.adversarial_compared, TWIN_ADVERSARIAL),
            )
            # One image of a few may lie on a tie between two classes.
            if compared - agreeing > max(1, (1 - least) * compared)
        ]


checks.register(TwinAgreement.name)(TwinAgreement())
