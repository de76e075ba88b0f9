"""ARD: adversarially robust distillation.

Source: Goldblum et al., "Adversarially Robust Distillation", AAAI 2020 (arXiv 1905.09747), eq. 3; official code:
github.com/goldblum/AdversariallyRobustDistillation (main.py); with `kl_scale: batchmean` and `temperature: 1`
as re-implemented in github.com/ZFancy/IAD.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from ..eval_mode import BatchNormMode
from ..inner import Objective, Start
from ..losses import KLScale, cross_entropy, distillation
from ..method import Method, MethodConfig, methods


class ArdConfig(MethodConfig):
    """Options of ARD.

    Attributes:
        alpha: weight of the distillation term; 1 - alpha weighs the cross-entropy on clean images.
        temperature: softens student and teacher.
        kl_scale: `batchmean`, or `mean` as in the authors' script.
    """

    alpha: float = Field(default=1.0, ge=0, le=1)
    temperature: float = Field(default=30.0, gt=0)
    kl_scale: KLScale = "batchmean"


@methods.register("ard")
class Ard(Method[ArdConfig]):
    """Answer at x' what the teacher answers at x.

    inner: max over x' of CE(S(x'), y).
    outer: alpha t^2 KL_t(T(x) || S(x')) + (1 - alpha) CE(S(x), y).
    """

    Config = ArdConfig
    start: ClassVar[Start] = "uniform"
    # The authors attack the student in train mode: ten further updates of BatchNorm's statistics a step, and
    # an attack on another network than the one that is evaluated. The default leaves them alone.
    official_attack_mode: ClassVar[BatchNormMode] = "train"

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The distillation term at x' and the labels at x."""
        config = self.config
        loss = config.alpha * distillation(
            self.teach(x), self.learn(x_adv), temperature=config.temperature, scale=config.kl_scale
        )
        if config.alpha < 1 or config.official:  # the official code forwards x even where it has no weight
            loss = loss + (1 - config.alpha) * cross_entropy(self.learn(x), y)
        return loss
