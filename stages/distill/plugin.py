"""What a plug-in is: a modification that goes on top of any method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from torch import Tensor

from ...core.config import Config
from ...core.registry import Registry
from .inner import Objective

if TYPE_CHECKING:
    from .method import Method, Term

PluginConfigT = TypeVar("PluginConfigT", bound=Config)


class Plugin(Generic[PluginConfigT]):
    """A modification of a base method; a subclass overrides what it changes.

    Args:
        config: the plug-in's own options.

    Attributes:
        method: the method it modifies, set by that method.
        state: what it carries from batch to batch; saved with a checkpoint.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Config]]
    needs_teacher: ClassVar[bool] = True

    method: Method[Any]

    def __init__(self, config: PluginConfigT) -> None:
        self.config = config
        self.state: dict[str, Any] = {}

    def inner(self, objective: Objective, x: Tensor, y: Tensor) -> Objective:
        """Return the objective that is raised instead."""
        return objective

    def outer(self, losses: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the losses `[N]` that are lowered instead, given the weighted ones of the base method."""
        return losses

    def weigh(self, losses: Tensor, y: Tensor) -> Tensor:
        """Return the base method's losses `[N]`, weighted by sample."""
        return losses

    def guide(self, logits: Tensor, y: Tensor, term: Term) -> Tensor:
        """Return a teacher's logits `[N, K]` as the student shall see them."""
        return logits

    def begin_epoch(self) -> None:
        """Act before an epoch."""

    def end_epoch(self) -> None:
        """Act after an epoch."""


plugins: Registry[type[Plugin[Any]]] = Registry("plugin", "edgeproof.stages.distill.plugins", "edgeproof.plugins")
