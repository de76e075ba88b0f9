"""The recipe and the run: schema, stage order, store, gate, reports, command line.

`build`, `verify` and `rank_teachers` do what the commands of the same name do. They are imported on first use, so that
`edgeproof --help` does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import build as build
    from .teachers import rank_teachers as rank_teachers
    from .verification import verify as verify

__all__ = ["build", "rank_teachers", "verify"]


def __getattr__(name: str) -> Any:
    if name == "build":
        from .run import build

        return build
    if name == "rank_teachers":
        from .teachers import rank_teachers

        return rank_teachers
    if name == "verify":
        from .verification import verify

        return verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
