"""ABSLD: each class has its own teacher temperature.

Source: Zhao et al., "Improving Adversarial Robust Fairness via Anti-Bias Soft Label Distillation", NeurIPS 2024
(arXiv 2312.05508); official code: github.com/zhaoshiji123/ABSLD.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ....core.config import Config
from ..losses import cross_entropy
from ..method import Term
from ..plugin import Plugin, plugins

COLDEST, HOTTEST = 0.5, 5.0


class AbsldConfig(Config):
    """Options of ABSLD: `rate`, how far the temperatures move after an epoch (0.1 in the code)."""

    rate: float = Field(default=0.1, ge=0)


@plugins.register("absld")
class Absld(Plugin[AbsldConfig]):
    """Divide the teacher's logits by the temperature of the sample's class: sharper for classes that lag behind.

    There is one temperature a class and term (adversarial, natural). After each epoch it moves by
    -rate (L_c - mean L) / max |L - mean L|, within [0.5, 5], L_c the summed cross-entropy of the class.
    """

    name = "absld"
    Config = AbsldConfig

    def guide(self, logits: Tensor, y: Tensor, term: Term) -> Tensor:
        """The logits `[N, K]` over the temperatures of their samples' classes."""
        if "temperature" not in self.state:
            return logits
        temperature = self.state["temperature"]
        if self.method.config.official:
            # The authors' two scaled copies share storage, so every use divides by both temperatures.
            divisor = temperature["adversarial"] * temperature["natural"]
        else:
            divisor = temperature[term]
        return logits / divisor.to(logits)[y][:, None]

    def outer(self, losses: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The losses as they are; on the way, the student's cross-entropy is summed by class."""
        for term, images in (("adversarial", x_adv), ("natural", x)):
            logits = self.method.learn(images).detach()
            values, labels = self.method.gather(cross_entropy(logits, y)), self.method.gather(y)
            total = values.new_zeros(logits.shape[1]).index_add(0, labels, values)
            sums = self.state.setdefault("loss", {})
            sums[term] = sums[term] + total if term in sums else total
        return losses

    def end_epoch(self) -> None:
        """Move the temperatures by what was summed."""
        before = self.state.get("temperature", {})
        self.state = {
            "temperature": {
                term: self._moved(before.get(term, torch.ones_like(loss)), loss)
                for term, loss in self.state["loss"].items()
            }
        }

    def _moved(self, temperature: Tensor, loss: Tensor) -> Tensor:
        above = loss - loss.mean()
        scale = above.abs().max().clamp_min(torch.finfo(loss.dtype).tiny)
        return (temperature - self.config.rate * above / scale).clamp(COLDEST, HOTTEST)
