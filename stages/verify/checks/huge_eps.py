"""Unbounded attack: at a huge eps nothing can be robust, and what survives hides from the gradients.

Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019 (arXiv 1902.06705), section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..evidence.counts import Counter
from .base import Check, Finding, Row, Shard, Tally, checks

if TYPE_CHECKING:
    from ..routes.base import Batch, Context

SURVIVORS = 0.1
# Of a shard's samples, for the checks that attack once more.
SHARE = 15
# Inner logits may be hidden behind a table of stored answers, which the graph's own gradient then sees beyond.
GRADIENTS = 2
FEW_STEPS = 10


@dataclass
class HugeEpsCounts(Counter):
    """What survives a huge eps.

    Attributes:
        huge_eps_attacked: samples attacked at a huge eps.
        huge_eps_survived: those that survived it.
    """

    huge_eps_attacked: int = 0
    huge_eps_survived: int = 0


class HugeEps(Check[HugeEpsCounts]):
    """More than a tenth of the samples survive an eps at which nothing can be robust: the gradients are masked."""

    name = "huge-eps"
    counts = HugeEpsCounts
    rows = (Row("attacked at a huge eps", "huge_eps_attacked", "survived", "huge_eps_survived"),)
    rank = 92

    def count(self, shard: Shard) -> HugeEpsCounts:
        """Count what survives in a ball as large as the images' space."""
        fallen = shard.once(in_other_balls)
        return HugeEpsCounts(len(fallen.anywhere), int((~fallen.anywhere).sum()))

    def judge(self, counts: HugeEpsCounts, tally: Tally) -> Iterable[Finding]:
        """Allow for few that the attack's steps do not reach."""
        if counts.huge_eps_survived > SURVIVORS * counts.huge_eps_attacked:
            yield Finding(
                self.name,
                f"{counts.huge_eps_survived} of {counts.huge_eps_attacked} samples survive an eps at which "
                "nothing can be robust; the gradients are masked",
            )


@dataclass(frozen=True)
class Fallen:
    """Which of the first few correct samples fall, `[n]` booleans each; n is 0 without gradients.

    Attributes:
        whole: in the ball.
        wider: in one of twice its size.
        anywhere: in one as large as the images' space.
        quickly: in the ball, to fewer steps.
    """

    whole: np.ndarray
    wider: np.ndarray
    anywhere: np.ndarray
    quickly: np.ndarray


def in_other_balls(shard: Shard) -> Fallen:
    """Attack a few samples in the ball, a wider and a huge one at once, then in fewer steps."""
    few, context = _few(shard.batch, shard.result.clean_correct), shard.context
    if not len(few) or not context.opened.gradient_sources:
        return Fallen(*np.zeros((4, 0), bool))
    norm, eps = context.threat.geometry, context.threat.eps
    huge = norm.huge(tuple(shard.batch.images.shape[1:]))
    wide = min(norm.widest, 2 * eps)
    first, *others = list(context.opened.gradient_sources)[:GRADIENTS]
    whole, wider, anywhere = _fall(few, context, first, (eps, wide, huge))
    for gradients in others:
        if not anywhere.all():
            (anywhere[~anywhere],) = _fall(few.where(~anywhere), context, gradients, (huge,))
    return Fallen(whole, wider, anywhere, _fall_quickly(few, context, first))


def _few(batch: Batch, correct: np.ndarray) -> Batch:
    """The first of the correct samples: their share of the shard, rounded up."""
    return batch.where(correct & (np.cumsum(correct) <= -(-len(batch) // SHARE)))


def _fall(batch: Batch, context: Context, gradients: str, radii: Sequence[float]) -> list[np.ndarray]:
    """Which samples fall in balls of several sizes: `[N]` booleans for each."""
    from ..attacks.batched_radii import apgd_in_balls
    from ..evidence.candidates import Candidates
    from ..subject.guarded import SamplesFailed

    norm, balls = context.threat.geometry, [context.threat.of_radius(radius) for radius in radii]
    with suppress(SamplesFailed), context.opened.watching(batch.images.numpy(), balls[-1]):
        model = context.opened.gradient_sources[gradients]
        ends = apgd_in_balls(model, batch.images, batch.labels, norm, radii, seed=context.config.seed)
        names = np.full(len(batch), "apgd-ce")
        return [
            replace(context, threat=ball).judge(Candidates(batch.index, names, images.numpy()), batch)
            for ball, images in zip(balls, ends, strict=True)
        ]
    return [np.ones(len(batch), bool) for _ in balls]  # in so wide a ball a failure is anybody's


def _fall_quickly(batch: Batch, context: Context, gradients: str) -> np.ndarray:
    from ..subject.guarded import SamplesFailed

    with suppress(SamplesFailed), context.opened.watching(batch.images.numpy(), context.threat):
        return context.attack("apgd-ce", gradients, batch, steps=FEW_STEPS).broken
    return np.ones(len(batch), bool)


checks.register(HugeEps.name)(HugeEps())
