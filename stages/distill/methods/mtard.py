"""MTARD and B-MTARD: a robust teacher for x', a clean one for x, and weights that keep their pace equal.

Source: Zhao et al., "Enhanced Accuracy and Robustness via Multi-Teacher Adversarial Distillation", ECCV 2022, and
"Mitigating Accuracy-Robustness Trade-off via Balanced Multi-Teacher Adversarial Distillation", TPAMI 2024
(arXiv 2306.16170); official code: github.com/zhaoshiji123/MTARD.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..inner import Objective
from ..losses import KLScale, cross_entropy, kl_with_offset
from ..method import Companion, Method, MethodConfig, methods
from .rslad import OFFSET


class MtardConfig(MethodConfig):
    """Options of MTARD.

    Attributes:
        weight_rate: how fast the two weights follow the relative losses.
        pace: exponent of the relative losses (`bert` in the code).
        balance_entropy: B-MTARD: temperatures that bring the teachers' entropies together.
        temperature_rate: how fast the temperatures move, within [1, 10].
        kl_scale: `batchmean`, or `mean` as in the authors' script.
    """

    weight_rate: float = Field(default=0.025, ge=0, le=1)
    pace: float = Field(default=1.0, gt=0)
    balance_entropy: bool = False
    temperature_rate: float = Field(default=0.001, ge=0)
    kl_scale: KLScale = "batchmean"


@methods.register("mtard")
class Mtard(Method[MtardConfig]):
    """Learn from the robust teacher at x' and from the clean one at x.

    inner: max over x' of CE(S(x'), y).
    outer: w_adv KL(T(x') || S(x')) + w_nat KL(T_nat(x) || S(x)). Before every batch's loss is formed, w_nat moves
    towards r_nat / (r_adv + r_nat), where r is the loss relative to that of the first batch; w_adv = 1 - w_nat.
    B-MTARD divides the teachers' logits by temperatures that follow their entropies.
    """

    Config = MtardConfig

    def __init__(self, config: MtardConfig, student: nn.Module, teacher: nn.Module | None = None, **more: Any) -> None:
        super().__init__(config, student, teacher, **more)
        self.state = {"weight_adv": 0.5, "weight_nat": 0.5, "temperature_adv": 1.0, "temperature_nat": 1.0}

    @classmethod
    def needs(cls, config: MtardConfig) -> Collection[Companion]:
        """Both teachers."""
        return ("teacher", "natural_teacher")

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y)."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The two terms, x' first, under the weights that this batch leads to."""
        robust, natural = self.teach(x_adv), self.teach(x, "natural", by="natural_teacher")
        if self.config.official and self.modified_by("fair"):
            natural = robust  # Fair-MTARD's script computes the clean teacher's answer and uses the robust one's
        robust, natural = robust / self.state["temperature_adv"], natural / self.state["temperature_nat"]
        adversarial_loss, natural_loss = (
            kl_with_offset(
                target, prediction, offset=OFFSET if self.config.official else 0.0, scale=self.config.kl_scale
            )
            for target, prediction in ((robust, self.learn(x_adv)), (natural, self.learn(x)))
        )
        self._follow(
            *(float(self.gather(self.weigh(loss, y).detach()).mean()) for loss in (adversarial_loss, natural_loss))
        )
        if self.config.balance_entropy:
            self._balance(robust, natural)
        return self.state["weight_adv"] * adversarial_loss + self.state["weight_nat"] * natural_loss

    def _follow(self, adversarial: float, natural: float) -> None:
        """Move the weights towards the relative losses' shares."""
        state, rate = self.state, self.config.weight_rate
        state.setdefault("initial_adv", adversarial)
        state.setdefault("initial_nat", natural)
        state |= {"loss_adv": adversarial, "loss_nat": natural}
        behind_adv = (adversarial / state["initial_adv"]) ** self.config.pace
        behind_nat = (natural / state["initial_nat"]) ** self.config.pace
        share = behind_nat / (behind_adv + behind_nat)
        nat = state["weight_nat"] - rate * (state["weight_nat"] - share)
        adv = 1 - nat
        if self.config.balance_entropy:  # B-MTARD moves each by itself, and normalises
            adv = max(state["weight_adv"] - rate * (state["weight_adv"] - (1 - share)), 0.0)
            nat = max(nat, 0.0)
            adv, nat = adv / (adv + nat), nat / (adv + nat)
        state |= {"weight_adv": adv, "weight_nat": nat}

    def _balance(self, robust: Tensor, natural: Tensor) -> None:
        """Lower the temperature of the teacher with the higher entropy, from the next batch on."""
        adversarial, clean = (self._negative_entropy(logits) for logits in (robust, natural))
        for name, ratio in (("temperature_adv", adversarial / clean), ("temperature_nat", clean / adversarial)):
            moved = self.state[name] - self.config.temperature_rate * float(torch.sign(torch.tensor(ratio - 1)))
            self.state[name] = min(max(moved, 1.0), 10.0)

    def _negative_entropy(self, logits: Tensor) -> float:
        p = F.softmax(logits, dim=1)
        return float(self.gather((p * (p + OFFSET).log()).mean(dim=1)).mean())
