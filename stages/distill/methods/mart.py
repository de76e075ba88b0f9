"""MART: misclassification-aware adversarial training.

Source: Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", ICLR 2020;
official code: github.com/YisenWang/MART (mart.py).
"""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import cross_entropy, probability
from ..method import Companion, Method, MethodConfig, methods

# What the official code adds inside its logarithms and weights: they keep log(0) away. The loss moves by 5e-5.
MARGIN, WEIGHT, LOG = 1.0001, 1.0000001, 1e-12


class MartConfig(MethodConfig):
    """Options of MART: `beta` weighs the divergence (5 in the training script, 6 as the function's default)."""

    beta: float = Field(default=5.0, ge=0)


@methods.register("mart")
class Mart(Method[MartConfig]):
    """Learn the labels at x' with a margin, and stay close to S(x) most where S is wrong on x.

    inner: max over x' of CE(S(x'), y).
    outer: BCE(S(x'), y) + beta KL(S(x) || S(x')) (1 - S_y(x)), where BCE is the cross-entropy plus
    -log(1 - max over k != y of S_k(x')).

    The official constants stay in both forms: without them the margin's logarithm is infinite at a sure
    wrong answer.
    """

    Config = MartConfig

    @classmethod
    def needs(cls, config: MartConfig) -> Collection[Companion]:
        """No teacher."""
        return ()

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The boosted cross-entropy and the weighted divergence; nothing is detached."""
        natural, robust = self.learn(x), self.learn(x_adv)
        clean, adversarial = F.softmax(natural, dim=1), F.softmax(robust, dim=1)
        wrong = adversarial.scatter(1, y[:, None], 0).amax(dim=1)
        boosted = cross_entropy(robust, y) - (MARGIN - wrong + LOG).log()
        divergence = (clean * (F.log_softmax(natural, dim=1) - (adversarial + LOG).log())).sum(dim=1)
        return boosted + self.config.beta * divergence * (WEIGHT - probability(natural, y))
