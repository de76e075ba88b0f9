"""Attack route: one way to attack a subject, run on the survivors of the routes before it; and the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ....core.errors import EdgeproofError
from ....core.registry import Registry
from ...eight_bit import nearest_inside
from ...threat import ThreatModel
from ..attacks.autoattack import Attack, AttackRun, inside, run_attack
from ..evidence.candidates import Candidates
from ..evidence.failed_attack import warning_of
from ..subject.guarded import SamplesFailed
from ..subject.subject import OpenedSubject, fooled

# What the report calls an image at which the model crashed, hung or raised.
FAILED = "failed"


@dataclass(frozen=True)
class Batch:
    """Samples under attack: images `[N, C, H, W]` and labels `[N]`, with their data-set rows."""

    images: Tensor
    labels: Tensor
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def where(self, chosen: np.ndarray) -> Batch:
        """Return the chosen samples (a boolean array)."""
        mask = torch.from_numpy(chosen)
        return Batch(self.images[mask], self.labels[mask], self.index[chosen])


@dataclass
class Outcome:
    """What a route did to a batch.

    Attributes:
        broken: `[N]` booleans, misclassified within the threat model.
        candidates: every end point, for replay elsewhere.
        warnings: what the attack says against itself.
    """

    broken: np.ndarray
    candidates: Candidates
    warnings: set[str] = field(default_factory=set)


class Effort(Protocol):
    """How hard to try: what routes and checks read of the configuration (`VerifyConfig`), where it is described."""

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def square_queries(self) -> int: ...  # noqa: D102
    @property
    def hard_label_iterations(self) -> int: ...  # noqa: D102
    @property
    def strong_restarts(self) -> int: ...  # noqa: D102
    def model_copy(self, *, update: dict[str, Any]) -> Self: ...  # noqa: D102


@dataclass(frozen=True)
class Context:
    """What every route may use.

    Attributes:
        opened: the subject.
        threat: the ball.
        config: how hard to try.
        pool: candidates found on other subjects.
        restarts: of the gradient attacks.
        tried: candidates of the routes before; None at first.
    """

    opened: OpenedSubject
    threat: ThreatModel
    config: Effort
    pool: Candidates
    restarts: int = 1
    tried: Candidates | None = None

    def attack(
        self, name: Attack, gradients: str | None, batch: Batch, *, restarts: int = 1, steps: int | None = None
    ) -> Outcome:
        """Run one attack of AutoAttack through the named gradients (Square: without) and judge what it found.

        Where the gradients are the subject's own (`autograd`) it is AutoAttack's to the last random start. One that
        raises has found nothing, and says so by a warning.
        """
        try:
            run: AttackRun = run_attack(
                name,
                self.opened.as_module if gradients is None else self.opened.gradient_sources[gradients],
                batch.images,
                batch.labels,
                batch.index,
                self.threat,
                classes=self.opened.classes,
                seed=self.config.seed,
                restarts=restarts,
                queries=self.config.square_queries,
                steps=steps,
                short_cuts=gradients != "autograd",
            )
        except (EdgeproofError, SamplesFailed):
            raise
        except Exception as error:  # a third party's attack may fail in any way
            return _failed(name, error, batch)
        label = name if gradients in ("autograd", None) else f"{name}/{gradients}"
        found = Candidates(
            run.candidates.index,
            np.full(len(run.candidates), label),
            run.candidates.images,
        )
        return Outcome(self.judge(found, batch), found, set(run.warnings))

    def judge(self, candidates: Candidates, batch: Batch) -> np.ndarray:
        """Say which samples have a candidate that the subject itself gets wrong.

        No attack is believed: candidates are put back into the ball, for a subject that sees nothing else as 8-bit
        images, and shown to the subject.
        """
        rows = candidates.rows_in(batch.index)
        return fooled(self.opened.predict, self.counted(candidates, batch).images, rows, batch.labels.numpy())

    def counted(self, candidates: Candidates, batch: Batch) -> Candidates:
        """The candidates as they count: inside of the ball, and for a subject that sees nothing else of 8 bits."""
        clean = batch.images[candidates.rows_in(batch.index)]
        images = inside(torch.from_numpy(candidates.images), clean, self.threat).numpy()
        if self.opened.eight_bit:
            images = nearest_inside(images, clean.numpy(), self.threat.geometry, self.threat.eps)
        return replace(candidates, images=images)


class Route(ABC):
    """One way to attack; registers itself under the name that the report shows."""

    # Whether the route needs gradients; the audit compares those that do with those that do not.
    white_box: ClassVar[bool] = False

    @abstractmethod
    def run(self, batch: Batch, context: Context) -> Outcome:
        """Attack a non-empty batch of samples that the subject still classifies correctly."""


def attempt(attack: Callable[[Batch], Outcome], batch: Batch, context: Context, name: str = "attack") -> Outcome:
    """Attack a batch; where the model fails at a sample, that one is broken, and the rest is attacked.

    Args:
        attack: attacks what it is given.
        batch: the samples.
        context: of the attack.
        name: what it is called, should it raise.
    """
    broken = np.zeros(len(batch), bool)
    found: list[Candidates] = []
    while not broken.all():
        rest = batch.where(~broken)
        try:
            with context.opened.watching(rest.images.numpy(), context.threat):
                outcome = attack(rest)
        except SamplesFailed as failed:
            broken[np.flatnonzero(~broken)[failed.rows]] = True
            found.append(Candidates(rest.index[failed.rows], np.full(len(failed.rows), FAILED), failed.images))
            continue
        except EdgeproofError:
            raise
        except Exception as error:  # a third party's route may fail in any way
            outcome = _failed(name, error, rest)
        broken[~broken] = outcome.broken
        return Outcome(broken, Candidates.join([*found, outcome.candidates], batch.images.shape[1:]), outcome.warnings)
    return Outcome(broken, Candidates.join(found, batch.images.shape[1:]))


def _failed(name: str, error: Exception, batch: Batch) -> Outcome:
    nothing = Candidates.none(tuple(batch.images.shape[1:]))
    return Outcome(np.zeros(len(batch), bool), nothing, {warning_of(name, error)})


routes: Registry[Route] = Registry("route", "edgeproof.stages.verify.routes", "edgeproof.routes", instances_of=Route)


def run_white_box(batch: Batch, context: Context, order: Sequence[str]) -> Outcome:
    """Run every route of the order that needs gradients, each on the survivors of the one before."""
    broken = np.zeros(len(batch), bool)
    found: list[Candidates] = []
    for name in order:
        if name in routes.names() and routes[name].white_box and not broken.all():
            outcome = attempt(partial(routes[name].run, context=context), batch.where(~broken), context, name)
            broken[~broken] = outcome.broken
            found.append(outcome.candidates)
    return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])))
