"""The recipe and the run: schema, stage order, store, gate, reports, command line.

`build` and `verify` do what the commands of the same name do. They are imported on first use, so that
`edgeproof --help` does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import build as build
    from .verification import verify as verify

__all__ = ["build", "verify"]


def __getattr__(name: str) -> Any:
    if name == "build":
        from .run import build

        return build
    if name == "verify":
        from .verification import verify

        return verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
