"""MAITE's protocols: an engine as their model, a data set as their data set.

    from edgeproof.maite import Dataset, Model

`edgeproof.verify` takes models and data sets of MAITE as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeproof.pipeline.maite.dataset import Dataset  # pyright: ignore[reportMissingImports]
    from edgeproof.pipeline.maite.model import Model  # pyright: ignore[reportMissingImports]

__all__ = ["Dataset", "Model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"edgeproof.pipeline.maite.{name.lower()}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
