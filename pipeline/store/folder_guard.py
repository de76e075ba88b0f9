"""Folder guard: whether a folder is a run's own to replace."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UsageError
from .manifest import MANIFEST, listed
from .place import record_in

RECIPE = "recipe.yaml"


def check_own(root: Path, *, build: bool) -> None:
    """See that a folder holds no run of the other kind, nor a report of somebody else's; before any work is done.

    Args:
        root: the run's folder, which need not be there.
        build: whether it is about to be built in, and not to get a proof of `verify`.

    Raises:
        UsageError: what the folder holds would be lost.
    """
    entries = listed(record_in(root / MANIFEST))
    if entries is None:
        if (root / "report.json").exists() and not (root / ".store").exists():
            raise UsageError(f"--out {root}: holds a report.json that no run here wrote; name another folder")
        return
    if any(entry["path"] == RECIPE for entry in entries) != build:
        holds = "a proof of `verify`" if build else "a build"
        raise UsageError(f"--out {root}: holds {holds}, whose files would be removed; name another folder")
