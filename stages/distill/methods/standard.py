"""Standard training on clean images: how the natural teachers of MTARD and AKD² are made."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from torch import Tensor

from ..inner import InnerMaximisation, Objective
from ..losses import cross_entropy
from ..method import Companion, Method, MethodConfig, methods


@methods.register("standard")
class Standard(Method[MethodConfig]):
    """Learn the labels; there is no inner maximisation, x' is x. Not robust.

    No golden vectors: there is nothing but cross-entropy.
    """

    Config = MethodConfig
    robust: ClassVar[bool] = False

    @classmethod
    def needs(cls, config: MethodConfig) -> Collection[Companion]:
        """No teacher."""
        return ()

    def search(self, x: Tensor, y: Tensor, maximisation: InnerMaximisation, start: Tensor | None) -> Tensor:
        """x itself."""
        return x

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """CE(S(x'), y), for plug-ins that ask; it is not raised."""
        return lambda x_adv: cross_entropy(self.student(x_adv), y).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """CE(S(x), y)."""
        return cross_entropy(self.learn(x), y)
