"""RSLAD: robust soft labels, in the attack too.

Source: Zi et al., "Revisiting Adversarial Robustness Distillation: Robust Soft Labels Make Student Better", ICCV 2021
(arXiv 2108.07969), eq. 6; official code: github.com/zibojia/RSLAD (rslad.py, rslad_loss.py).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import KLScale, kl, kl_with_offset
from ..method import Method, MethodConfig, methods

OFFSET = 1e-5


class RsladConfig(MethodConfig):
    """Options of RSLAD.

    Attributes:
        adversarial_weight: weight of the term at x'.
        natural_weight: weight of the term at x.
        kl_scale: `batchmean`, or `mean` as in the official scripts.
        factor: multiplies the loss (10 in the official CIFAR-100 script, on top of `mean`).
    """

    adversarial_weight: float = Field(default=5 / 6, ge=0)
    natural_weight: float = Field(default=1 / 6, ge=0)
    kl_scale: KLScale = "batchmean"
    factor: float = Field(default=1.0, gt=0)


@methods.register("rslad")
class Rslad(Method[RsladConfig]):
    """The teacher's answer at x is the only label, for the attack and for both terms of the loss.

    inner: max over x' of KL(T(x) || S(x')), T(x) computed once.
    outer: 5/6 KL(T(x) || S(x')) + 1/6 KL(T(x) || S(x)).
    """

    Config = RsladConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(T(x) || S(x'))."""
        target = self.teach(x)
        return lambda x_adv: kl(target, self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The two terms, x' first."""
        config = self.config
        offset = OFFSET if config.official else 0.0  # sound without: the gradient is the same
        adversarial = kl_with_offset(self.teach(x), self.learn(x_adv), offset=offset, scale=config.kl_scale)
        natural = kl_with_offset(self.teach(x, "natural"), self.learn(x), offset=offset, scale=config.kl_scale)
        return config.factor * (config.adversarial_weight * adversarial + config.natural_weight * natural)
