"""Fair-ARD: classes that are easy to attack weigh more.

Source: Yue et al., "Revisiting Adversarial Robustness Distillation from the Perspective of Robust Fairness",
NeurIPS 2023; official code: github.com/NISP-official/Fair-ARD.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ....core.config import Config
from ..inner import Objective
from ..plugin import Plugin, plugins

LOWEST, HIGHEST = 5 / 6, 5 / 2
SMALL = 1e-5


class FairConfig(Config):
    """Options of Fair-ARD: `beta`, how strongly the weights follow the classes' vulnerability (2 in the code)."""

    beta: float = Field(default=2.0, ge=0)


@plugins.register("fair")
class Fair(Plugin[FairConfig]):
    """Weigh each sample's loss by its class: (1 / kappa_c)^beta, scaled to sum to K, then clipped to [5/6, 5/2].

    kappa counts, in the attack, the steps before which the student still answers rightly; kappa_c is its mean over
    the last epoch's samples of class c. The first epoch weighs all classes alike.
    """

    name = "fair"
    Config = FairConfig
    needs_teacher = False

    def inner(self, objective: Objective, x: Tensor, y: Tensor) -> Objective:
        """The objective itself; on the way, the steps that every sample withstands are counted."""

        first = True

        def counted(x_adv: Tensor) -> Tensor:
            nonlocal first
            value = objective(x_adv)
            logits = self.method.student(x_adv).detach()
            self._count("kappa", logits.argmax(dim=1) == y, y, logits.shape[1])
            if first:
                self._count("samples", torch.ones_like(y, dtype=torch.bool), y, logits.shape[1])
                first = False
            return value

        return counted

    def weigh(self, losses: Tensor, y: Tensor) -> Tensor:
        """The losses times their class's weight."""
        weights = self.state.get("weights")
        return losses if weights is None else losses * weights[y]

    def end_epoch(self) -> None:
        """Turn what was counted into the next epoch's weights."""
        if "kappa" not in self.state:  # a method that does not attack
            return
        kappa = self.state["kappa"] / self.state["samples"].clamp(min=1)
        self.state = {"weights": class_weights(kappa, self.config.beta)}

    def _count(self, name: str, chosen: Tensor, y: Tensor, classes: int) -> None:
        labels = self.method.gather(torch.where(chosen, y, classes))  # of equal length in all processes
        found = torch.bincount(labels, minlength=classes + 1)[:classes]
        self.state[name] = self.state[name] + found if name in self.state else found


def class_weights(kappa: Tensor, beta: float) -> Tensor:
    """Weights `[K]` of the classes from their mean number of withstood steps `[K]`.

    Not renormalised after the clipping. Every host gets the 1e-5 that Fair-RSLAD's script lacks: without it a class
    that withstands no step at all would weigh NaN.
    """
    raw = (1 / (kappa + SMALL)) ** beta
    return (raw * (len(raw) / raw.sum())).clamp(LOWEST, HIGHEST)
