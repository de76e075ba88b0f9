"""AutoAttack standard: its four attacks as routes of their own, in its order, on a torch model."""

from __future__ import annotations

from ..attacks.autoattack import STANDARD, Attack
from .base import Batch, Context, Outcome, Route, routes


class StandardAttack(Route):
    """One attack of AutoAttack standard; `square` is also the black-box route against engines."""

    def __init__(self, attack: Attack) -> None:
        self._attack: Attack = attack
        self.white_box = attack != "square"  # type: ignore[misc]

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Run the attack through the first gradient; Square on the subject's own answers."""
        first = next(iter(context.opened.gradient_sources)) if self.white_box else None
        return context.attack(self._attack, first, batch, restarts=context.restarts)


_SUMMARIES: dict[Attack, str] = {
    "apgd-ce": "Auto-PGD on the cross-entropy.",
    "apgd-t": "Auto-PGD on the targeted difference of logits ratio.",
    "fab-t": "FAB, towards the nearest boundary of each class.",
    "square": "Square attack: random search on the subject's own answers, without gradients.",
}
for attack in STANDARD:
    routes.register(attack, summary=_SUMMARIES[attack])(StandardAttack(attack))
