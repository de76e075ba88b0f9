"""AdaIAD: AdaAD's search with IAD's introspection.

Source: Huang et al., "Boosting Accuracy and Robustness of Student Models via Adaptive Adversarial
Distillation", CVPR 2023; official code: github.com/boyellow/AdaAD (main.py).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import cross_entropy, distillation, kl, probability
from ..method import Method, MethodConfig, methods


class AdaIADConfig(MethodConfig):
    """Options of AdaIAD.

    Attributes:
        alpha: weight of teacher and introspection; 1 - alpha weighs the cross-entropy on clean images.
        beta: exponent of the trust T_y(x')^beta in the teacher.
        temperature: softens student and teacher in the first term (30 is the code's default; whether the
            paper's figures used it is not known).
        begin: the fraction of the epochs after which the student trusts itself (60 of 200 in the code).
    """

    alpha: float = Field(default=1.0, ge=0, le=1)
    beta: float = Field(default=0.1, ge=0)
    temperature: float = Field(default=30.0, gt=0)
    begin: float = Field(default=0.3, ge=0, le=1)


@methods.register("adaiad")
class AdaIAD(Method[AdaIADConfig]):
    """Search as AdaAD does; learn from the teacher at x', and from one's own clean answer where the teacher fails.

    inner: max over x' of KL(T(x') || S(x')), with gradients through both.
    outer: alpha [t^2 KL_t(T(x') || S(x')) + (1 - T_y(x')^beta) KL(S(x) || S(x'))] + (1 - alpha) CE(S(x), y).
    """

    Config = AdaIADConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(T(x') || S(x')); the teacher is not detached."""
        return lambda x_adv: kl(self.guide(self.teacher(x_adv)), self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Distillation, introspection once its time has come, and the labels; S(x) is not detached."""
        config, introspective = self.config, self.reached(self.config.begin)
        needed = introspective or config.alpha < 1
        # The official code forwards x for a printed accuracy and again for every term: BatchNorm sees them all.
        forward = self.student if config.official else self.learn
        if config.official:
            self.student(x)
        adversarial = self.learn(x_adv)
        loss = config.alpha * distillation(self.teach(x_adv), adversarial, temperature=config.temperature)
        if introspective:
            trust = probability(self.teach(x_adv), y) ** config.beta
            loss = loss + config.alpha * (1 - trust) * kl(forward(x), adversarial)
        if needed or config.official:
            loss = loss + (1 - config.alpha) * cross_entropy(forward(x), y)
        return loss
