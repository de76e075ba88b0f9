"""Hooks of a training method: what a plug-in may change of its objective, its losses, and what the student sees."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from .inner import Objective, Term


class Modification:
    """Changes nothing; a plug-in overrides some of it.

    Attributes:
        method: the method it modifies, set by that method.
        state: what it carries from batch to batch; saved with a checkpoint.
    """

    name: ClassVar[str]
    method: Any
    state: dict[str, Any]

    def inner(self, objective: Objective, x: Tensor, y: Tensor) -> Objective:
        """Return the objective that is raised instead."""
        return objective

    def outer(self, losses: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the losses `[N]` that are lowered instead, given the weighted ones of the base method."""
        return losses

    def weigh(self, losses: Tensor, y: Tensor) -> Tensor:
        """Return the base method's losses `[N]`, weighted by sample."""
        return losses

    def guide(self, logits: Tensor, y: Tensor, term: Term) -> Tensor:
        """Return a teacher's logits `[N, K]` as the student shall see them."""
        return logits

    def begin_epoch(self) -> None:
        """Act before an epoch."""

    def end_epoch(self) -> None:
        """Act after an epoch."""
