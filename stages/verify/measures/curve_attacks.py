"""Attacks of the accuracy-over-eps curve: in smaller balls on what broke, in wider ones on what stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....core.process_pool import finished
from ...data import Split
from ...threat import ThreatModel
from ..attacks.autoattack import Attack
from ..evidence.candidates import Candidates
from ..routes.base import Batch, Context, attempt
from ..subject.rescaled import with_rescaled
from ..subject.subject import Subject, in_worker
from ..subject.wrappers import RESCALED

if TYPE_CHECKING:
    from ..config import VerifyConfig
    from .curve_config import CurveConfig

# Samples that one process attacks at a time; each such part opens the subject once.
_PART = 100
Job = Callable[[], Candidates]


def attack_other_radii(
    subjects: Mapping[str, Subject],
    *,
    broken: Mapping[str, np.ndarray],
    robust: Mapping[str, np.ndarray],
    split: Split,
    threat: ThreatModel,
    config: VerifyConfig,
    curve: CurveConfig,
    workers: int,
) -> dict[str, Candidates]:
    """Attack every subject in balls of other sizes; return all end points by its name.

    A sample that withstood the verification needs no attack in a smaller ball, all of which lies in the threat model's.

    Args:
        subjects: what is attacked; one without gradients is not.
        broken: by subject `[n]` booleans, samples whose clean image is right and that fell at eps.
        robust: by subject `[n]` booleans, those that did not fall.
        split: the samples.
        threat: the ball of the verification.
        config: seed and budgets.
        curve: the other balls, and the attacks, each on the survivors of the one before.
        workers: processes, one thread each.

    Raises:
        StageError: a worker died for good.
    """
    balls = curve.balls(threat)
    parts = np.array_split(np.arange(len(split)), -(-len(split) // _PART))
    names = [name for name in subjects for _ in parts]

    def jobs(given: Callable[[Subject], Subject]) -> list[Job]:
        return [
            partial(
                _attack,
                given(subject),
                split.take(rows),
                [
                    (broken[name][rows], [ball for ball in balls if ball.eps < threat.eps]),
                    (robust[name][rows], [ball for ball in balls if ball.eps > threat.eps]),
                ],
                curve.attacks,
                config,
            )
            for name, subject in subjects.items()
            for rows in parts
        ]

    careful = jobs(lambda subject: subject)
    results = dict(finished(jobs(in_worker), workers, careful=careful, what="accuracy over eps"))
    found = [results[place] for place in range(len(careful))]
    shape = split.images.shape[1:]
    return {
        name: Candidates.join((each for owner, each in zip(names, found, strict=True) if owner == name), shape)
        for name in subjects
    }


def _attack(
    subject: Subject,
    split: Split,
    groups: Sequence[tuple[np.ndarray, Sequence[ThreatModel]]],
    attacks: Sequence[Attack],
    config: VerifyConfig,
) -> Candidates:
    torch.set_num_threads(1)
    shape = split.images.shape[1:]
    with closing(subject.open()) as unscaled:
        if not unscaled.gradient_sources:
            return Candidates.none(shape)
        some = np.logical_or.reduce([chosen for chosen, _ in groups])
        opened = with_rescaled(unscaled, unscaled.predict(split.images), some)
        # Where the first gradient's logits are so large that the cross-entropy vanishes, its rescaled twin.
        first = RESCALED if RESCALED in opened.gradient_sources else next(iter(opened.gradient_sources))
        batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
        found: list[Candidates] = []
        for chosen, balls in groups:
            standing = batch.where(chosen)
            for ball in balls:
                context = Context(opened, ball, config, Candidates.none(shape))
                for attack in attacks:
                    if len(standing):
                        gradients = None if attack == "square" else first
                        outcome = attempt(partial(context.attack, attack, gradients), standing, context)
                        found.append(outcome.candidates)
                        standing = standing.where(~outcome.broken)
        return Candidates.join(found, shape)
