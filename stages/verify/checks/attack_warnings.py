"""Warnings of the attacks themselves, AutoAttack's own checks among them, and of how the answers are dressed.

Source: Croce & Hein, ICML 2020 (arXiv 2003.01690), whose package warns of randomised and dynamic defences and of
gradients that are zero.
"""

from __future__ import annotations

from ..evidence.counts import Counter
from ..evidence.failed_attack import ATTACK_FAILED
from .base import Check, Finding, Shard, Tally, checks
from .hidden_logits import undressed

LABELS_ONLY = "labels-only"
_SENTENCES = {
    "randomised": "the answers change from call to call; a random defence needs attacks that average over it",
    "probabilities": "the outputs are probabilities, not logits; their gradients vanish",
    "dynamic": "the model takes gradients while it answers; it may adapt to the attack",
    "zero-gradient": "some samples have no gradient; gradient attacks see nothing there",
    "no-gradients": "no gradient reaches the images, from the graph or from a surrogate; what black boxes find "
    "is an upper bound",
    LABELS_ONLY: "the model answers labels alone; attacks that see no logits find less, and the figure is an upper "
    "bound",
    "no-targeted-dlr": "APGD-T was skipped: its loss needs at least four classes",
    "not-autoattack": "AutoAttack does not know this norm: APGD, and a random search in place of Square, are "
    "edgeproof's own, and FAB was skipped",
}
# These alone do not make a figure unreliable: other routes and the other checks speak about them.
_HARMLESS = {"zero-gradient", "no-targeted-dlr", "not-autoattack"}


class AttackWarnings(Check[Counter]):
    """The attacks object: answers change from call to call, are labels or probabilities; no gradient arrives.

    Each warning is a finding by its own name: `randomised`, `probabilities`, `dynamic`, `zero-gradient`,
    `no-gradients`, `labels-only`, `attack-failed` (an attack raised), `no-targeted-dlr`, `not-autoattack`.
    `zero-gradient` and the last two do not make the verdict inconclusive, nor does `probabilities` where the logits in
    front of them were attacked. For `probabilities`, export the logits, or name an inner output with `--output-name`.
    """

    name = "attack-warnings"
    counts = Counter
    rank = 0

    def count(self, shard: Shard) -> Counter:
        """Nothing: the attacks warn by name."""
        return Counter()

    def judge(self, counts: Counter, tally: Tally) -> list[Finding]:
        """Put every warning into a sentence."""
        heard = set(tally.warnings)
        if LABELS_ONLY in heard:  # which says it all
            heard -= {"probabilities", "zero-gradient"}
        harmless = _HARMLESS | {"probabilities"} if undressed(tally) else _HARMLESS
        parted = [each.partition(": ") for each in sorted(heard)]
        return [Finding(name, _said(name, rest), name not in harmless) for name, _, rest in parted]


def _said(name: str, rest: str) -> str:
    return f"{rest}; what it would have found is not known" if name == ATTACK_FAILED else _SENTENCES[name]


def in_question(tally: Tally) -> bool:
    """Whether the answers are more than labels, and no logits behind them were attacked, by which they are judged."""
    return not undressed(tally) and LABELS_ONLY not in tally.warnings


checks.register(AttackWarnings.name)(AttackWarnings())
