"""White box against black box: whether gradients find what attacks without gradients found.

A white box that is weaker than a black box, or than examples made for another model, is being fooled by the
gradients that it sees, and its figure is too high.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..evidence.counts import Counter, Counts
from .base import Check, Finding, Row, Shard, Tally, checks


@dataclass
class WhiteBoxCounts(Counter):
    """What the white box misses.

    Attributes:
        missed_by_white_box: samples that a route without gradients broke and the white box does not; the probe's search
            counts by itself.
        missed_by_strong: those of them that the white box with more restarts does not break either.
        search_missed: samples that the probe's search broke and neither white box nor averaged gradients do.
        search_missed_by_strong: those of them that the white box with more restarts does not break either.
        standing: samples that the white box left standing.
    """

    missed_by_white_box: int = 0
    missed_by_strong: int = 0
    search_missed: int = 0
    search_missed_by_strong: int = 0
    standing: int = 0


class WhiteBoxAudit(Check[WhiteBoxCounts]):
    """Square or replay break more samples than gradients can, averaged ones among them, or the probe's search does.

    Allowed are max(2, 0.5 %) of the samples that the white box left standing, after restarts, and max(2, 2 %) for the
    search: it begins where gradients end, and breaks about one in a hundred of honest 8-bit students. All of them count
    as broken.
    """

    name = "white-box-too-weak"
    counts = WhiteBoxCounts
    rows = (
        Row("found by others, missed by the white box", "standing", "missed", "missed_by_white_box"),
        Row("found by others, missed with more restarts too", "standing", "missed", "missed_by_strong"),
        Row("found by the search alone", "standing", "missed by gradients", "search_missed"),
        Row(
            "found by the search, with more restarts too", "standing", "missed by gradients", "search_missed_by_strong"
        ),
    )
    rank = 10
    attacks = True

    def count(self, shard: Shard) -> WhiteBoxCounts:
        """Run the white box on what the routes without gradients broke, then averaged gradients, then restarts."""
        from ..routes.base import Context, attempt, routes, run_white_box
        from ..routes.probe import PROBE, ascend

        counts, context, batch, result = WhiteBoxCounts(), shard.context, shard.batch, shard.result
        order = list(result.bits)
        if not context.opened.gradient_sources or not any(routes[name].white_box for name in order):
            return counts
        by_black_box, by_search = np.zeros((2, len(batch)), bool)
        before = result.clean_correct
        for name in order:
            if not routes[name].white_box:
                fell = before & ~result.bits[name]
                by_black_box |= fell
                by_search |= fell & (name == PROBE)
            before = result.bits[name]
        counts.standing = int(before.sum())
        if not by_black_box.any():
            return counts
        victims = batch.where(by_black_box)
        normal = run_white_box(victims, context, order)
        found, missed = [normal.candidates], victims.where(~normal.broken)
        if len(missed) and PROBE in order:
            # Which all survivors have met: a gradient attack like the others, where theirs are noisy.
            averaged = attempt(partial(ascend, context=context), missed, context)
            found, missed = [*found, averaged.candidates], missed.where(~averaged.broken)
        searched = np.isin(missed.index, batch.index[by_search])
        counts.missed_by_white_box, counts.search_missed = int((~searched).sum()), int(searched.sum())
        counts.standing += len(missed)
        if len(missed):
            restarted = context.config.model_copy(update={"seed": context.config.seed + 1})
            strong_context = Context(
                context.opened, context.threat, restarted, context.pool, restarts=restarted.strong_restarts
            )
            strong = run_white_box(missed, strong_context, order)
            counts.missed_by_strong = int((~strong.broken & ~searched).sum())
            counts.search_missed_by_strong = int((~strong.broken & searched).sum())
            found.append(strong.candidates)
        shard.add(found)
        return counts

    def judge(self, counts: WhiteBoxCounts, tally: Tally) -> Iterable[Finding]:
        """Judge by what even more restarts miss; once, for what is worse."""
        for missed, allowed, how in (
            (counts.missed_by_strong, allowance(counts.standing), "without gradients"),
            (counts.search_missed_by_strong, search_allowance(counts.standing), "by a search alone"),
        ):
            if missed > allowed:
                yield Finding(
                    self.name,
                    f"{missed} samples broken {how} withstand the white box even with more restarts "
                    f"(allowed: {allowed:g}); its gradients are masked, or blind to the steps of activations of few "
                    "bits, and the figure is an upper bound",
                )
                return


def allowance(standing: int) -> float:
    """How many samples other routes may find that the white box missed: max(2, 0.5 %)."""
    return max(2.0, 0.005 * standing)


def search_allowance(standing: int) -> float:
    """How many the probe's search may find, which begins where gradients ended: max(2, 2 %).

    Honest 8-bit students lose about one in a hundred to it, and few more to one of four times the length; behind 4-bit
    activations it finds more than one in ten, and more the longer it goes on.
    """
    return max(2.0, 0.02 * standing)


def too_much_missed(counts: Counts) -> bool:
    """Whether the white box missed so much that it is to try again on all survivors, with more restarts."""
    mine = counts[WhiteBoxCounts]
    others, by_search = allowance(mine.standing), search_allowance(mine.standing)
    return mine.missed_by_white_box > others or mine.search_missed > by_search


checks.register(WhiteBoxAudit.name)(WhiteBoxAudit())
