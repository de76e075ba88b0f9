"""Monotonicity: a wider ball may not break less, nor fewer steps of the attack more.

Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019 (arXiv 1902.06705), section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks
from .huge_eps import in_other_balls

NOT_MONOTONE = 0.1


@dataclass
class MonotonicityCounts(Counter):
    """The white box in fewer steps and in a wider ball.

    Attributes:
        monotone_asked: samples that were attacked in fewer steps and in a wider ball.
        fewer_steps_better: those that fell to fewer steps and not to more.
        wider_ball_worse: those that fell in the ball and not in the wider one.
    """

    monotone_asked: int = 0
    fewer_steps_better: int = 0
    wider_ball_worse: int = 0


class Monotonicity(Check[MonotonicityCounts]):
    """More steps or a wider ball break less, at more than a tenth of the samples: the gradients are noise.

    Two samples may be the luck of random starts.
    """

    name = "not-monotone"
    counts = MonotonicityCounts
    rows = (
        Row(
            "attacked in fewer steps and a wider ball", "monotone_asked", "fewer steps did better", "fewer_steps_better"
        ),
        Row("attacked in fewer steps and a wider ball", "monotone_asked", "a wider ball did worse", "wider_ball_worse"),
    )
    rank = 94

    def count(self, shard: Shard) -> MonotonicityCounts:
        """Compare the attack at a huge eps with that in the ball, in a wider one, and in fewer steps."""
        fallen = shard.once(in_other_balls)
        fewer, wider = fallen.quickly & ~fallen.whole, fallen.whole & ~fallen.wider
        return MonotonicityCounts(len(fallen.whole), int(fewer.sum()), int(wider.sum()))

    def judge(self, counts: MonotonicityCounts, tally: Tally) -> list[Finding]:
        """Allow for the luck of random starts."""
        return [
            Finding(self.name, f"{many} of {counts.monotone_asked} samples {what}; its gradients are noise")
            for many, what in (
                (counts.fewer_steps_better, "fall to fewer steps of the white box and withstand more"),
                (counts.wider_ball_worse, "fall in the ball and withstand a wider one"),
            )
            if many > max(2, NOT_MONOTONE * counts.monotone_asked)
        ]


checks.register(Monotonicity.name)(Monotonicity())
