"""IGDM as a plug-in: the gradient term on top of any distillation method.

Source: as of methods/igdm.py.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ....core.config import Config
from ..losses import gradient_matching
from ..plugin import Plugin, plugins


class IgdmPluginConfig(Config):
    """Options: `alpha` weighs the gradient term at the end of training (1 for CIFAR-10, 10 for CIFAR-100)."""

    alpha: float = Field(default=1.0, ge=0)


@plugins.register("igdm")
class IgdmPlugin(Plugin[IgdmPluginConfig]):
    """Add alpha (epoch / epochs) KL(t(x+d) - t(x-d) || s(x+d) - s(x-d)), d = x' - x."""

    name = "igdm"
    Config = IgdmPluginConfig

    def outer(self, losses: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The base method's losses plus the gradient term."""
        method, opposite = self.method, 2 * x - x_adv
        matching = gradient_matching(
            (method.teach(x_adv), method.teach(opposite)), (method.learn(x_adv), method.learn(opposite))
        )
        return losses + self.config.alpha * method.epoch / method.epochs * matching
