"""What a training method is: an inner maximisation objective and an outer minimisation loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ...targets.errors import UsageError
from ...targets.registry import Registry
from ..section import Section
from .inner import InnerMaximisation, Objective

ConfigT = TypeVar("ConfigT", bound=Section)


class Method(ABC, Generic[ConfigT]):
    """One adversarial training or distillation method.

    A subclass states how x' is found (`inner`) and what the student learns from it (`outer`); both read
    like the paper. `step` puts them together: the inner maximisation runs with student and teacher in eval
    mode, so that it leaves BatchNorm statistics alone; the outer loss sees the student in train mode and
    the teacher in eval mode.

    Args:
        config: the method's own options.
        student: the model that learns.
        teacher: the frozen robust teacher, for methods that need one.
    """

    Config: ClassVar[type[Section]]
    needs_teacher: ClassVar[bool] = True

    def __init__(self, config: ConfigT, student: nn.Module, teacher: nn.Module | None = None) -> None:
        self.config = config
        self.student = student
        self._teacher = teacher
        if teacher is not None:
            # Frozen, yet not under no_grad: gradients still reach the input through the teacher.
            teacher.requires_grad_(False).eval()

    @property
    def teacher(self) -> nn.Module:
        """The robust teacher."""
        if self._teacher is None:
            raise UsageError(f"{type(self).__name__} needs a teacher")
        return self._teacher

    @abstractmethod
    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """Return the objective of x' that the inner maximisation raises for this batch."""

    @abstractmethod
    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the scalar loss that the student minimises."""

    def step(
        self, x: Tensor, y: Tensor, maximisation: InnerMaximisation, *, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one training step up to its loss; return (loss, x').

        Args:
            x: images in [0, 1], `[N, C, H, W]`.
            y: labels, int64 `[N]`.
            maximisation: how x' is searched.
            start: the first iterate, instead of a random one.
        """
        with evaluating(self.student):
            x_adv = maximisation.run(self.inner(x, y), x, start=start)
        self.student.train()
        return self.outer(x, x_adv, y), x_adv

    @torch.no_grad()
    def teach(self, x: Tensor) -> Tensor:
        """Return the teacher's logits as a fixed target."""
        return self.teacher(x)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in eval mode, and its parameters out of the graph, for the time of an attack."""
    training = model.training
    needed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needed:
            parameter.requires_grad_(True)
        model.train(training)


methods: Registry[type[Method]] = Registry("method", "edgeproof.stages.distill.methods", "edgeproof.methods")
