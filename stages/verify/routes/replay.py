"""Transfer attack: adversarial candidates found elsewhere, shown to this subject (route `replay`)."""

from __future__ import annotations

from ..evidence.candidates import Candidates
from .base import Batch, Context, Outcome, Route, routes


class Replay(Route):
    """Transfer: every candidate of the float student (and of other engines), winners and losers alike.

    An image that narrowly failed on the student may well fool the engine.
    """

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Judge the pool's candidates of these samples."""
        candidates = context.pool.of(batch.index)
        return Outcome(context.judge(candidates, batch), Candidates.none(tuple(batch.images.shape[1:])))


routes.register("replay")(Replay())
