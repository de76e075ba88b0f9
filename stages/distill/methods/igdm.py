"""IGDM on AdaAD: match the teacher's input gradients too, by differences of logits.

Source: Lee et al., "Indirect Gradient Matching for Adversarial Robust Distillation", ICLR 2025 (arXiv 2312.03286);
official code: github.com/HongsinLee/saad (igdm.py), whose script calls the inner maximisation with eps and step
exchanged; the vectors, and we, do not.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import gradient_matching, kl
from ..method import Method, MethodConfig, methods

# The epochs of the official schedule; the script divides by this constant, whatever the number of epochs.
OFFICIAL_EPOCHS = 200


class IgdmConfig(MethodConfig):
    """Options of IGDM: `alpha` weighs the gradient term at the end of training (1 for CIFAR-10, 10 for CIFAR-100)."""

    alpha: float = Field(default=1.0, ge=0)


@methods.register("igdm")
class Igdm(Method[IgdmConfig]):
    """AdaAD's search; the teacher's answer at x' and its change along d = x' - x.

    inner: max over x' of KL(T(x') || S(x')), with gradients through both.
    outer: KL(T(x') || S(x')) + alpha (epoch / epochs) KL(t(x+d) - t(x-d) || s(x+d) - s(x-d)) on logits.

    x - d is not clipped to [0, 1]. Unlike the plug-in of this name, nothing is forwarded at x.
    """

    Config = IgdmConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(T(x') || S(x')); the teacher is not detached."""
        return lambda x_adv: kl(self.guide(self.teacher(x_adv)), self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The answer at x' and the gradient term."""
        opposite = 2 * x - x_adv
        matching = gradient_matching(
            (self.teach(x_adv), self.teach(opposite)), (self.learn(x_adv), self.learn(opposite))
        )
        share = self.epoch / (OFFICIAL_EPOCHS if self.config.official else self.epochs)
        return kl(self.teach(x_adv), self.learn(x_adv)) + self.config.alpha * share * matching
