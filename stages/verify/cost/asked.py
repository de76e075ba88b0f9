"""Gradients and answers that the attacks ask of a subject, attack by attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ...threat import ThreatModel
from ..attacks.autoattack import DLR_CLASSES, TARGETS
from ..config import VerifyConfig
from ..routes.probe import DRAWS, PROBE, QUERIES
from ..routes.probe import STEPS as PROBE_STEPS
from ..routes.whitebox import ATTACKS, CE_ONLY
from ..subject.subject import OpenedSubject

# Of APGD and of FAB, in AutoAttack's standard version.
STEPS = 100
# Of FAB's steps, those that are taken where hopeless walks are left (`lean_fab`).
LEAN = 0.3
# A step of FAB asks for a label as well, and projects: on the digits' student, 1.6 s of steps that took 0.8 for APGD.
FAB_STEP = 2.0
AUTOGRAD = "autograd"

# Which samples are asked about: all that are answered rightly, those that the first attack left standing, those that it
# broke, or the few nearest to an error.
On = Literal["right", "standing", "fallen", "near"]


@dataclass(frozen=True)
class Asked:
    """What one attack asks about every sample that it is run on.

    Attributes:
        attack: its name, with the gradient that it follows.
        on: the samples that it is run on.
        steps: gradients, one after another, of every run.
        runs: runs beside each other: targets, draws.
        together: whether those share a batch.
        answers: queries without gradients.
        kept: images that are kept of it.
        weight: how many gradients of APGD a step takes as long as.
    """

    attack: str
    on: On
    steps: int = 0
    runs: int = 1
    together: bool = False
    answers: int = 0
    kept: int = 1
    weight: float = 1.0

    @property
    def gradients(self) -> int:
        """Gradients in all."""
        return self.steps * self.runs


def asked_by(
    order: Sequence[str], opened: OpenedSubject, config: VerifyConfig, threat: ThreatModel, *, curve: bool
) -> list[Asked]:
    """Return what the routes ask, in their order, and the attacks in other balls; a route of others' is not known.

    What a sample that falls early is spared is not counted, nor what the checks ask.

    Args:
        order: the routes, or AutoAttack's attacks on a network of torch.
        opened: the subject, with its gradients.
        config: how hard they try.
        threat: the ball.
        curve: whether the subject has a curve.
    """
    return list(_asked(order, opened, config, threat, curve))


def _asked(
    order: Sequence[str], opened: OpenedSubject, config: VerifyConfig, threat: ThreatModel, curve: bool
) -> Iterator[Asked]:
    sources = list(opened.gradient_sources)
    for route in order:
        if route == "whitebox":
            for number, source in enumerate(sources):
                attacks = ATTACKS if number == 0 else ATTACKS[:1] if source in CE_ONLY else ATTACKS[:2]
                for attack in attacks:
                    yield from _gradient(attack, source, opened.classes, threat, first=number == 0)
        elif route in ATTACKS and sources:
            yield from _gradient(route, sources[0], opened.classes, threat, first=True)
        elif route == "square":
            yield Asked(route, "standing", answers=config.square_queries)
        elif route == PROBE:
            queries = config.square_queries if opened.coarse else QUERIES
            on: On = "standing" if opened.coarse else "near"
            ascents = min(len(sources), 2)
            if ascents:
                yield Asked(f"{PROBE}, gradients", on, ascents * PROBE_STEPS, DRAWS, together=True, kept=0)
            yield Asked(f"{PROBE}, search", on, answers=queries)
    if curve and config.curve is not None and sources:
        balls = [ball.eps > threat.eps for ball in config.curve.balls(threat)]
        gradient = [attack for attack in config.curve.attacks if attack != "square"]
        for wider in (True, False):
            count, on = balls.count(wider), "standing" if wider else "fallen"
            if count and gradient:
                name = f"curve, {'wider' if wider else 'smaller'} balls"
                yield Asked(name, on, STEPS * count * len(gradient), kept=count)


def _gradient(attack: str, source: str, classes: int, threat: ThreatModel, *, first: bool) -> Iterator[Asked]:
    name = attack if source == AUTOGRAD else f"{attack}/{source}"
    lean = source != AUTOGRAD
    targets = min(TARGETS, classes - 1)
    if attack == "apgd-ce":
        yield Asked(name, "right" if first else "standing", STEPS)
    elif attack == "apgd-t" and classes >= DLR_CLASSES:
        yield Asked(name, "standing", STEPS, targets, together=lean, kept=targets)
    elif attack == "fab-t" and threat.geometry.autoattack is not None:
        yield Asked(
            name, "standing", round(STEPS * LEAN) if lean else STEPS, targets, True, kept=targets, weight=FAB_STEP
        )
