"""TRADES: adversarial training that trades clean accuracy against the smoothness of the decision.

Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019
(arXiv 1901.08573); official code: github.com/yaodongyu/TRADES (trades.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ...section import Section
from ..inner import Objective
from ..losses import kl
from ..method import Method, methods


class TradesConfig(Section):
    """Options of TRADES: `beta` weighs the robust term (the official script uses 6)."""

    beta: float = Field(default=6.0, ge=0)


@methods.register("trades")
class Trades(Method[TradesConfig]):
    """Learn the labels on clean images, and the same answer on x' as on x.

    inner: max over x' of KL(S(x) || S(x')).
    outer: CE(S(x), y) + beta KL(S(x) || S(x')), with gradients into the clean branch too.
    """

    Config = TradesConfig
    needs_teacher = False

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(S(x) || S(x')), summed; S(x) does not depend on x' and is computed once."""
        with torch.no_grad():
            clean = self.student(x)
        return lambda x_adv: kl(clean, self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy plus the robust term; detaching the clean branch would cost 2 to 4 points."""
        # Three train-mode forwards in this order: BatchNorm's statistics then move as in the official code.
        natural = F.cross_entropy(self.student(x), y)
        adversarial = self.student(x_adv)
        robust = kl(self.student(x), adversarial).mean()
        return natural + self.config.beta * robust
