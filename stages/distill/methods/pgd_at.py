"""PGD-AT: adversarial training on the cross-entropy.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018
(arXiv 1706.06083); vectors: github.com/boyellow/AdaAD (AT_helper.py).
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from ..inner import Objective
from ..losses import cross_entropy
from ..method import Companion, Method, MethodConfig, methods


@methods.register("pgd_at")
class PgdAt(Method[MethodConfig]):
    """Learn the labels at x'.

    inner: max over x' of CE(S(x'), y).
    outer: CE(S(x'), y).
    """

    Config = MethodConfig

    @classmethod
    def needs(cls, config: MethodConfig) -> Collection[Companion]:
        """No teacher."""
        return ()

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """CE(S(x'), y)."""
        loss = cross_entropy(self.learn(x_adv), y)
        if self.config.official:
            self.learn(x)  # for a printed accuracy; all that it changes is BatchNorm's running statistics
        return loss
