"""Route `whitebox`: AutoAttack's gradient attacks on the engine, through its twin's gradients."""

from __future__ import annotations

import numpy as np

from ..autoattack import Attack
from ..candidates import Candidates
from ..route import Batch, Context, Outcome, Route, routes

ATTACKS: tuple[Attack, ...] = ("apgd-ce", "apgd-t", "fab-t")


class WhiteBox(Route):
    """All gradient attacks through the first gradient; the two APGD attacks through each further one.

    The first gradient is the twin's rule; the others (another backward mode, a surrogate) are further
    attacks on what is left, not substitutes.
    """

    white_box = True

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Attack the survivors of each attack with the next."""
        broken = np.zeros(len(batch), bool)
        found: list[Candidates] = []
        warnings: set[str] = set()
        for number, gradients in enumerate(context.surface.differentiable):
            for attack in ATTACKS if number == 0 else ATTACKS[:2]:
                if broken.all():
                    break
                rest = batch.where(~broken)
                outcome = context.attack(attack, gradients, rest, restarts=context.restarts)
                broken[~broken] = outcome.broken
                found.append(outcome.candidates)
                warnings |= outcome.warnings
        return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])), warnings)


routes.register("whitebox")(WhiteBox())
