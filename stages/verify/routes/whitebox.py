"""White-box attack (BPDA): AutoAttack's gradient attacks on the engine, through its twin (route `whitebox`)."""

from __future__ import annotations

import numpy as np

from .. import position
from ..attacks.autoattack import Attack
from ..evidence.candidates import Candidates
from ..subject.wrappers import DIFFERENCE, JOINT, RESCALED
from .base import Batch, Context, Outcome, Route, routes

ATTACKS: tuple[Attack, ...] = ("apgd-ce", "apgd-t", "fab-t")
# The other losses take no notice of the scale of logits; blends are one further attack each.
CE_ONLY = {JOINT, DIFFERENCE, RESCALED}


class WhiteBox(Route):
    """AutoAttack's gradient attacks through the twin (BPDA).

    All of them through the first gradient; the two APGD attacks, or one, through each further one.

    The first gradient is the twin's rule; the others (another backward mode, a surrogate, twin and surrogate
    together or against each other) are further attacks on what is left, not substitutes.
    """

    white_box = True

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Attack the survivors of each attack with the next."""
        broken = np.zeros(len(batch), bool)
        found: list[Candidates] = []
        warnings: set[str] = set()
        attacks: list[tuple[Attack, str]] = [
            (attack, gradients)
            for number, gradients in enumerate(context.opened.gradient_sources)
            for attack in (ATTACKS if number == 0 else ATTACKS[:1] if gradients in CE_ONLY else ATTACKS[:2])
        ]
        position.steps([attack for attack, _ in attacks])
        for attack, gradients in attacks:
            if broken.all():
                break
            rest = batch.where(~broken)
            outcome = context.attack(attack, gradients, rest, restarts=context.restarts)
            broken[~broken] = outcome.broken
            position.fell(int(outcome.broken.sum()))
            found.append(outcome.candidates)
            warnings |= outcome.warnings
        return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])), warnings)


routes.register("whitebox")(WhiteBox())
