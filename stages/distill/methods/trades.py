"""TRADES: adversarial training that trades clean accuracy against the smoothness of the decision.

Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019
(arXiv 1901.08573), eq. 5; official code: github.com/yaodongyu/TRADES (trades.py).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import cross_entropy, kl
from ..method import Companion, Method, MethodConfig, methods


class TradesConfig(MethodConfig):
    """Options of TRADES: `beta` weighs the robust term (the official script uses 6)."""

    beta: float = Field(default=6.0, ge=0)


@methods.register("trades")
class Trades(Method[TradesConfig]):
    """Learn the labels on clean images, and the same answer on x' as on x.

    inner: max over x' of KL(S(x) || S(x')).
    outer: CE(S(x), y) + beta KL(S(x) || S(x')), with gradients into the clean branch too.
    """

    Config = TradesConfig

    @classmethod
    def needs(cls, config: TradesConfig) -> Collection[Companion]:
        """No teacher."""
        return ()

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(S(x) || S(x')); S(x) does not depend on x' and is computed once."""
        with torch.no_grad():
            clean = self.student(x)
        return lambda x_adv: kl(clean, self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy plus the robust term; detaching the clean branch would cost 2 to 4 points."""
        clean, adversarial = self.learn(x), self.learn(x_adv)
        # The official code forwards x a second time for the robust term: the same value, and BatchNorm's
        # statistics move once more.
        again = self.student(x) if self.config.official else clean
        return cross_entropy(clean, y) + self.config.beta * kl(again, adversarial)
