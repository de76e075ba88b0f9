"""Method plug-in: a modification that goes on top of any method; and the registry."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from ...core.config import Config
from ...core.registry import Registry
from .method import Method
from .modification import Modification

PluginConfigT = TypeVar("PluginConfigT", bound=Config)


class Plugin(Modification, Generic[PluginConfigT]):
    """A modification of a base method; a subclass overrides what it changes of `Modification`.

    Args:
        config: the plug-in's own options.

    Attributes:
        method: the method it modifies, set by that method.
        state: what it carries from batch to batch; saved with a checkpoint.
    """

    Config: ClassVar[type[Config]]
    needs_teacher: ClassVar[bool] = True

    method: Method[Any]

    def __init__(self, config: PluginConfigT) -> None:
        self.config = config
        self.state: dict[str, Any] = {}


plugins: Registry[type[Plugin[Any]]] = Registry("plugin", "edgeproof.stages.distill.plugins", "edgeproof.plugins")
