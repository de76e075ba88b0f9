"""SAAD: a linearised teacher in the attack, and weights that prefer the teacher's unsure samples.

Source: Lee et al., "Sample-wise Adaptive Weighting for Transfer-Consistent Adversarial Distillation", TMLR 2026
(arXiv 2512.10275); official code: github.com/HongsinLee/saad (saad.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import gradient_matching, kl
from ..method import Method, MethodConfig, methods

# The code's constants: the entropy's factor (its option entropy_scale is not read) and what keeps logarithms
# and denominators away from zero.
ENTROPY_SCALE, LOG, RANGE = 5.0, 1e-12, 1e-8


class SaadConfig(MethodConfig):
    """Options of SAAD.

    Attributes:
        matching: weight of IGDM's gradient term at the end of training (`igdm_alpha` in the code).
        beta: weight of the clean term, which prefers sure samples (0 in the CIFAR-10 script).
        entropy_order: order of the Rényi entropy; 1 is Shannon's.
        linear: weight of the teacher's linear correction in the attack; 0 leaves T(x).
    """

    matching: float = Field(default=1.0, ge=0)
    beta: float = Field(default=0.0, ge=0)
    entropy_order: float = Field(default=1.0, gt=0)
    linear: float = Field(default=1.0, ge=0)


@methods.register("saad")
class Saad(Method[SaadConfig]):
    """Search x' with one forward and one backward of the teacher a batch, instead of one at every step.

    inner: max over x' of KL(t~(x') || S(x')), t~ = t(x) except t~_y = t_y(x) + linear <grad_x t_y(x), x' - x>;
    the gradient flows through t~ too.
    outer: w [KL(T(x') || S(x')) + matching (epoch / epochs) IGDM] + beta (1 - w^) KL(T(x) || S(x)), with
    w = 5 (H - min H), H the entropy of T(x'), the minimum over the batch, and w^ = w scaled to [0, 1].
    """

    Config = SaadConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(t~(x') || S(x')) with the linearised teacher."""
        with torch.enable_grad():
            clean = x.detach().requires_grad_()
            logits = self.teacher(clean)
            (slope,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), clean)
        logits, true = logits.detach(), F.one_hot(y, logits.shape[1]).to(logits)

        def objective(x_adv: Tensor) -> Tensor:
            rise = self.config.linear * (slope * (x_adv - x)).flatten(1).sum(dim=1, keepdim=True)
            return kl(self.guide(logits + true * rise), self.student(x_adv)).sum()

        return objective

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The weighted adversarial terms, and the clean one where it has a weight."""
        config, opposite = self.config, 2 * x - x_adv
        robust = kl(self.teach(x_adv), self.learn(x_adv))
        matching = gradient_matching(
            (self.teach(x_adv), self.teach(opposite)), (self.learn(x_adv), self.learn(opposite))
        )
        weights = ENTROPY_SCALE * self._above_the_least(self._entropy(self.teach(x_adv)))
        loss = weights * (robust + config.matching * self.epoch / self.epochs * matching)
        if config.beta > 0 or config.official:  # the official code forwards x in any case
            most = self.gather(weights).max()
            natural = kl(self.teach(x, "natural"), self.learn(x))
            loss = loss + config.beta * (1 - weights / (most + RANGE)) * natural
        return loss

    def _above_the_least(self, values: Tensor) -> Tensor:
        return values - self.gather(values).min()

    def _entropy(self, logits: Tensor) -> Tensor:
        p, order = F.softmax(logits, dim=1), self.config.entropy_order
        if order == 1:
            return -(p * (p + LOG).log()).sum(dim=1)
        return (p.pow(order).sum(dim=1) + LOG).log() / (1 - order)
