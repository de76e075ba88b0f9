"""IAD: introspective adversarial distillation, with a teacher that is trusted only partly (IAD-I).

Source: Zhu et al., "Reliable Adversarial Distillation with Unreliable Teachers", ICLR 2022 (arXiv 2106.04928);
official code: github.com/ZFancy/IAD (IAD-I).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from ..eval_mode import BatchNormMode
from ..inner import Objective, Start
from ..losses import cross_entropy, distillation, kl, probability
from ..method import Method, MethodConfig, methods


class IadConfig(MethodConfig):
    """Options of IAD-I.

    Attributes:
        alpha: weight of teacher and introspection; 1 - alpha weighs the cross-entropy on clean images.
        beta: exponent of the trust T_y(x')^beta in the teacher.
        temperature: softens student and teacher in the first term.
        begin: the fraction of the epochs after which the student trusts itself (60 of 200 in the code).
    """

    alpha: float = Field(default=1.0, ge=0, le=1)
    beta: float = Field(default=0.1, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    begin: float = Field(default=0.3, ge=0, le=1)


@methods.register("iad")
class Iad(Method[IadConfig]):
    """Answer at x' what the teacher answers at x, and, where the teacher fails at x', what one answers oneself at x.

    inner: max over x' of CE(S(x'), y).
    outer: alpha [t^2 KL_t(T(x) || S(x')) + (1 - T_y(x')^beta) KL(S(x) || S(x'))] + (1 - alpha) CE(S(x), y).

    S(x) is not detached; the first term is not weighted by the trust.
    """

    Config = IadConfig
    start: ClassVar[Start] = "uniform"
    official_attack_mode: ClassVar[BatchNormMode] = "train"  # see ard.py

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Distillation, introspection once its time has come, and the labels."""
        config = self.config
        adversarial = self.learn(x_adv)
        loss = config.alpha * distillation(self.teach(x), adversarial, temperature=config.temperature)
        if config.official:
            return loss + self._as_published(x, x_adv, y)
        if self.reached(config.begin):
            loss = loss + config.alpha * self._introspection(self.learn(x), x_adv, y)
        if config.alpha < 1:
            loss = loss + (1 - config.alpha) * cross_entropy(self.learn(x), y)
        return loss

    def _introspection(self, clean: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        trust = probability(self.teach(x_adv), y) ** self.config.beta
        return (1 - trust) * kl(clean, self.learn(x_adv))

    def _as_published(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        # Every forward here that is not needed moves BatchNorm's statistics, as in the authors' loop.
        config, introspective = self.config, self.reached(self.config.begin)
        if self.modified_by("fair"):
            # The Fair-ARD repository's IAD: introspection before the second forward, labels at x', and no
            # labels at all before introspection begins.
            if not introspective:
                return self.learn(x_adv).new_zeros(len(y))
            introspection = self._introspection(self.student(x), x_adv, y)
            self.student(x_adv)
            return config.alpha * introspection + (1 - config.alpha) * cross_entropy(self.learn(x_adv), y)
        self.student(x_adv)
        introspection = self._introspection(self.student(x), x_adv, y) if introspective else 0.0
        return config.alpha * introspection + (1 - config.alpha) * cross_entropy(self.student(x), y)
