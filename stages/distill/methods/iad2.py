"""IAD-II: introspection on top of AKD²'s two teachers.

Source: Zhu et al., "Reliable Adversarial Distillation with Unreliable Teachers", ICLR 2022 (arXiv 2106.04928);
official code: github.com/ZFancy/IAD (IAD-II).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ..losses import cross_entropy, distillation, kl, probability
from ..method import methods
from .akd2 import Akd2, Akd2Config


class Iad2Config(Akd2Config):
    """Options of IAD-II: AKD²'s, `beta`, the exponent of the trust, and `begin` (40 of 200 epochs in the code)."""

    beta: float = Field(default=0.1, ge=0)
    begin: float = Field(default=0.2, ge=0, le=1)


@methods.register("iad2")
class Iad2(Akd2):
    """AKD², its robust teacher shared with the student's own clean answer by the trust g = T_y(x')^beta.

    inner: max over x' of CE(S(x'), y).
    outer: AKD²'s, with t^2 [g KL_t(T(x') || S(x')) + (1 - g) KL(S(x) || S(x'))] for the robust teacher; before
    `begin` AKD² itself (the vectors cover only what follows it).
    """

    Config = Iad2Config
    config: Iad2Config

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The three terms, the robust one shared; t^2 also multiplies the unsoftened introspection."""
        config = self.config
        if not self.reached(config.begin):
            return super().outer(x, x_adv, y)
        prediction = self.learn(x_adv)
        teacher, natural_teacher = self.teach(x_adv), self.teach(x_adv, "natural", by="natural_teacher")
        trust = probability(teacher, y) ** config.beta
        robust = trust * distillation(teacher, prediction, temperature=config.temperature)
        robust = robust + config.temperature**2 * (1 - trust) * kl(self.learn(x), prediction)
        natural = distillation(natural_teacher, prediction, temperature=config.temperature)
        labels = 1 - config.robust_weight - config.natural_weight
        return labels * cross_entropy(prediction, y) + config.robust_weight * robust + config.natural_weight * natural
