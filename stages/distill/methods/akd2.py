"""AKD²: two teachers, a robust one and a clean one, beside the labels.

Source: Chen et al., "Robust Overfitting may be mitigated by properly learned smoothening" (ICLR 2021) for the idea
of two teachers; formula and vectors: github.com/ZFancy/IAD (AKD2).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from ..eval_mode import BatchNormMode
from ..inner import Objective, Start
from ..losses import cross_entropy, distillation
from ..method import Companion, Method, MethodConfig, methods


class Akd2Config(MethodConfig):
    """Options of AKD².

    Attributes:
        robust_weight: weight of the robust teacher (alpha_1 in the code).
        natural_weight: weight of the clean teacher (alpha_2); what is left of 1 weighs the labels.
        temperature: softens student and teachers.
    """

    robust_weight: float = Field(default=0.5, ge=0, le=1)
    natural_weight: float = Field(default=0.25, ge=0, le=1)
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _weights_share_one(self) -> Akd2Config:
        if self.robust_weight + self.natural_weight > 1:
            raise ValueError("natural_weight: robust_weight + natural_weight must not exceed 1")
        return self


@methods.register("akd2")
class Akd2(Method[Akd2Config]):
    """Learn at x' from the labels and from both teachers, who look at x' too.

    inner: max over x' of CE(S(x'), y).
    outer: (1 - a_1 - a_2) CE(S(x'), y) + a_1 t^2 KL_t(T(x') || S(x')) + a_2 t^2 KL_t(T_nat(x') || S(x')).
    """

    Config = Akd2Config
    start: ClassVar[Start] = "uniform"
    official_attack_mode: ClassVar[BatchNormMode] = "train"  # see ard.py

    @classmethod
    def needs(cls, config: Akd2Config) -> Collection[Companion]:
        """Both teachers."""
        return ("teacher", "natural_teacher")

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The three terms at x'."""
        config, prediction = self.config, self.learn(x_adv)
        robust = distillation(self.teach(x_adv), prediction, temperature=config.temperature)
        natural = distillation(
            self.teach(x_adv, "natural", by="natural_teacher"), prediction, temperature=config.temperature
        )
        labels = 1 - config.robust_weight - config.natural_weight
        return labels * cross_entropy(prediction, y) + config.robust_weight * robust + config.natural_weight * natural
