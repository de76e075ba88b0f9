"""DGAD: distil where the teacher is right at x', and on clean images where it is not.

Source: Park and Min, "Dynamic Guidance Adversarial Distillation with Enhanced Teacher Knowledge", ECCV 2024
(arXiv 2409.01627); official code: github.com/kunsaram01/DGAD.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import kl, probability
from ..method import Method, MethodConfig, methods


class DgadConfig(MethodConfig):
    """Options of DGAD.

    Attributes:
        pairing: weight of the squared distance between S(x') and S(x) (`alp_beta` in the code; 0 drops it).
        introspection: add IAD's introspection (`dgad_iad1` in the code) from `begin` on.
        beta: exponent of the trust T_y(x')^beta in the introspection.
        begin: the fraction of the epochs after which it begins.
    """

    pairing: float = Field(default=1.0, ge=0)
    introspection: bool = False
    beta: float = Field(default=0.1, ge=0)
    begin: float = Field(default=0.3, ge=0, le=1)


@methods.register("dgad")
class Dgad(Method[DgadConfig]):
    """Two groups: the teacher is right on x, or it is not; a wrong answer is corrected before it is taught.

    inner: max over x' of KL(T(x') || S(x')), with gradients through both.
    outer: KL(T~(x') || S(x')) where T is right on x, KL(T~(x) || S(x)) elsewhere, plus the pairing term
    pairing * mean over classes of (S(x') - S(x))^2. T~ exchanges the largest and the true class's logit wherever T is
    wrong at that input.

    The authors' MobileNetV2 branch multiplies the two terms (a misplaced parenthesis) and has no vectors.
    """

    Config = DgadConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(T(x') || S(x')); the teacher is not detached."""
        return lambda x_adv: kl(self.guide(self.teacher(x_adv)), self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The group's divergence and the pairing term, clean forward first."""
        config = self.config
        clean, adversarial = self.learn(x), self.learn(x_adv)
        right = self.teach(x, "natural").argmax(dim=1) == y
        loss = torch.where(
            right,
            kl(corrected(self.teach(x_adv), y), adversarial),
            kl(corrected(self.teach(x, "natural"), y), clean),
        )
        loss = loss + config.pairing * (F.softmax(adversarial, dim=1) - F.softmax(clean, dim=1)).square().mean(dim=1)
        if not (config.introspection and self.reached(config.begin)):
            return loss
        if config.official:
            # The authors compare S(x) with S(x) and S(x') with S(x'): identically zero. Only BatchNorm notices.
            self.student(x)
            self.student(x_adv)
            return loss
        trust = probability(self.teach(x_adv), y) ** config.beta
        return loss + right * (1 - trust) * kl(clean, adversarial)


def corrected(logits: Tensor, y: Tensor) -> Tensor:
    """Exchange the largest logit with the true class's, `[N, K]`; a right answer stays as it is."""
    largest = logits.argmax(dim=1, keepdim=True)
    true = y[:, None]
    return logits.scatter(1, true, logits.gather(1, largest)).scatter(1, largest, logits.gather(1, true))
