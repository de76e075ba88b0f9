"""`store list`, `store prune`: the artifact cache, for people and as JSON."""

from __future__ import annotations

import os
import time
from calendar import timegm
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UsageError
from ..store.place import ENVIRONMENT, Place
from ..store.prune import Stored, contents, prune, seconds_of, store_at

if TYPE_CHECKING:
    from rich.console import Console

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def list_store(folder: Path | None) -> dict[str, Any]:
    """What a store holds, as `--json` prints it.

    Args:
        folder: the store, or the folder of a run; $EDGEPROOF_STORE when None.

    Raises:
        UsageError: there is no store.
    """
    place = _place(folder)
    found = contents(place)
    return {
        "store": str(place.folder),
        "size_bytes": sum(each.size for each in found),
        "artifacts": [_as_json(each) for each in found],
    }


def prune_store(folder: Path | None, *, older_than: str = "0d", dry_run: bool = False) -> dict[str, Any]:
    """Remove what no run refers to, and return what `--json` prints.

    Args:
        folder: as of `list_store`.
        older_than: for how long nobody has used it, such as `30d`.
        dry_run: remove nothing.

    Raises:
        UsageError: there is no store, or no such age.
    """
    age = seconds_of(older_than)
    place = _place(folder)
    try:
        pruned = prune(place, older_than=age, dry_run=dry_run)
    except OSError as error:
        raise UsageError(f"{place.folder}: cannot be pruned ({error.strerror}: {error.filename})") from None
    return {
        "store": str(place.folder),
        "dry_run": dry_run,
        "freed_bytes": pruned.freed,
        "removed": [_as_json(each) for each in pruned.removed],
        "kept": len(pruned.kept),
    }


def show_store(result: dict[str, Any], console: Console) -> None:
    """Print what `list_store` returns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("artifact", "size", "made", "used", "runs", box=SIMPLE_HEAD)
    for each in result["artifacts"]:
        runs = "\n".join(each["runs"]) or "-"
        table.add_row(_name(each), _size(each["size_bytes"]), _ago(each["made"]), _ago(each["used"]), runs)
    if result["artifacts"]:
        console.print(table)
    total = f"{len(result['artifacts'])} artifacts, {_size(result['size_bytes'])}"
    console.print(f"{result['store']}: {total}", highlight=False, markup=False, soft_wrap=True)


def show_pruned(result: dict[str, Any], console: Console) -> None:
    """Print what `prune_store` returns."""
    for each in result["removed"]:
        line = f"{_name(each)}  {_size(each['size_bytes'])}, used {_ago(each['used'])} ago"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    verb = "would free" if result["dry_run"] else "freed"
    said = f"{verb} {_size(result['freed_bytes'])} ({len(result['removed'])} artifacts; {result['kept']} stay)"
    console.print(f"{result['store']}: {said}", highlight=False, markup=False, soft_wrap=True)


def _place(folder: Path | None) -> Place:
    if folder is not None:
        return store_at(folder)
    named = os.environ.get(ENVIRONMENT)
    if not named:
        raise UsageError(f"no store is named; give a folder, or set {ENVIRONMENT}")
    try:
        return store_at(Path(named).expanduser())
    except UsageError as error:
        raise UsageError(f"{ENVIRONMENT}: {error}") from None


def _as_json(found: Stored) -> dict[str, Any]:
    return {
        "stage": found.stage,
        "key": found.key,
        "size_bytes": found.size,
        "made": _when(found.made),
        "used": _when(found.used),
        "runs": list(found.runs),
    }


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _ago(when: str) -> str:
    seconds = max(time.time() - timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")), 0)
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _name(found: dict[str, Any]) -> str:
    return f"{found['stage']}/{found['key'][:8]}" if found["key"] else found["stage"]


def _size(count: float) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 1024:.1f} KiB"
