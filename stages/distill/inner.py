"""Inner maximisation: projected gradient ascent on any objective of x' inside the threat model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ...core.config import Config
from ...core.errors import StageError, UsageError
from ..norms.base import Norm
from ..threat import Radius, ThreatModel
from .eval_mode import BatchNormMode

Start = Literal["none", "gaussian", "uniform"]
Objective = Callable[[Tensor], Tensor]
# Which part of a loss a teacher's answer is the target of.
Term = Literal["adversarial", "natural"]

# Rounding of x + (x' - x) in float32; anything beyond it is a bug, not arithmetic.
BALL_TOLERANCE = 1e-5


class InnerConfig(Config):
    """How x' is searched: `steps` ascent steps of length `step` (default eps/4) from a `start`.

    Attributes:
        steps: ascent steps.
        step: their length, in the threat model's norm.
        start: `none`, the clean image itself; `gaussian`, the image plus `0.001 * N(0, 1)` (the start of TRADES
            and AdaAD, not clipped to [0, 1]); `uniform`, a point of the ball, clipped to [0, 1]. The method's own
            when left out.
        budget: pairs of a fraction of the epochs and the steps from there on, such as `[[0, 5], [0.5, 10]]`:
            cheap steps early. `steps` holds before the first pair.
        batch_norm: `eval` leaves the student's BatchNorm alone in the attack; `train` attacks with the batch's
            statistics and updates the running ones. The method's own when left out: eval, unless `official`.
    """

    steps: int = Field(default=10, ge=1)
    step: Radius | None = Field(default=None, gt=0)
    start: Start | None = None
    budget: tuple[tuple[Annotated[float, Field(ge=0, le=1)], Annotated[int, Field(ge=1)]], ...] = ()
    batch_norm: BatchNormMode | None = None

    @field_validator("budget")
    @classmethod
    def _rising(cls, budget: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
        fractions = [fraction for fraction, _ in budget]
        if fractions != sorted(set(fractions)):
            raise ValueError("the fractions of the epochs must rise")
        return budget

    def steps_at(self, fraction: float) -> int:
        """The number of steps when this fraction of the epochs is over."""
        return next((steps for begin, steps in reversed(self.budget) if fraction >= begin), self.steps)


@dataclass(frozen=True)
class InnerMaximisation:
    """PGD with all its numbers settled; `run` reads like the algorithm in Madry et al. (arXiv 1706.06083).

    Steps go in the norm's direction of steepest ascent: the gradient's sign in Linf, the gradient of unit length in L2.
    """

    norm: Norm
    eps: float
    step: float
    steps: int
    start: Start = "gaussian"

    @classmethod
    def of(
        cls,
        config: InnerConfig,
        threat: ThreatModel,
        *,
        where: str = "inner",
        start: Start = "gaussian",
        fraction: float = 0.0,
    ) -> InnerMaximisation:
        """Settle a configuration against a threat model.

        Args:
            config: what the recipe says.
            threat: the ball.
            where: the recipe section, for messages.
            start: the method's start, where the recipe names none.
            fraction: how much of the training is over, for the budget.

        Raises:
            UsageError: the step is longer than eps; official code has been published with the two exchanged.
        """
        step = threat.eps / 4 if config.step is None else config.step
        if step > threat.eps:
            raise UsageError(
                f"{where}.step: {step:g} is larger than threat.eps {threat.eps:g}; "
                "a step must not leave the ball (are step and eps exchanged?)"
            )
        return cls(threat.geometry, threat.eps, step, config.steps_at(fraction), config.start or start)

    def run(
        self,
        objective: Objective,
        x: Tensor,
        *,
        start: Tensor | None = None,
        after: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Raise `objective` and return x', detached, in the ball around x and in [0, 1].

        Args:
            objective: maps `[N, C, H, W]` to a scalar, summed (or averaged) over the batch. Gradients flow
                through everything it touches, the teacher included.
            x: clean images in [0, 1], `[N, C, H, W]`.
            start: the first iterate, instead of the configured random one.
            after: changes every iterate after its projection; must stay in the ball.

        Raises:
            StageError: the result is outside the ball or the pixel range, or is not a number.
        """
        x_adv = self.initial(x) if start is None else start
        for _ in range(self.steps):
            x_adv = x_adv.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(objective(x_adv), x_adv)
            x_adv = self.project(x_adv.detach() + self.step * self.direction(gradient), x)
            if after is not None:
                x_adv = after(x_adv)
        self.check(x_adv, x)
        return x_adv.detach()

    def initial(self, x: Tensor) -> Tensor:
        """Draw the first iterate around x."""
        if self.start == "none":
            return x.clone()
        if self.start == "gaussian":
            return x + 0.001 * torch.randn_like(x)
        return self.norm.start(x, self.eps)

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the steepest ascent direction of unit length in the norm."""
        return self.norm.direction(gradient)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Project onto the ball around x, then onto [0, 1]."""
        return (x + self.norm.clip(x_adv - x, self.eps)).clamp(0, 1)

    def check(self, x_adv: Tensor, x: Tensor) -> None:
        """Hold the invariant of every inner maximisation: x' in the ball and in [0, 1]."""
        size = self.norm.size(x_adv - x).max()
        inside = (size <= self.eps + BALL_TOLERANCE) & (x_adv.min() >= 0) & (x_adv.max() <= 1)
        if not bool(inside):  # also when something is not a number
            raise StageError(
                f"inner maximisation left the threat model: |x' - x| = {float(size):g} (eps {self.eps:g}), "
                f"pixels in [{float(x_adv.min()):g}, {float(x_adv.max()):g}]"
            )
