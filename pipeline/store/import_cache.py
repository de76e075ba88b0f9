"""Cached import graph: which modules a source file imports, remembered by its content, so that no change is missed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...core.atomic_write import write_atomically
from ...core.reading.json_text import read_json

# More files than edgeproof has; beyond it what other versions left is dropped.
_MOST = 2000


class ImportCache:
    """Imports by (content, package); use as a context, at whose end what was new is kept.

    Args:
        path: the file it is kept in; one that is missing, broken or cannot be written is as an empty one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._new: dict[str, Sequence[str]] = {}

    @classmethod
    def of_user(cls) -> ImportCache:
        """The cache in the user's cache folder."""
        root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # Path's own fails without a home
        return cls(Path(root) / "edgeproof" / "imports.json")

    def imports(self, content: bytes, package: str, read: Callable[[bytes, str], Sequence[str]]) -> Sequence[str]:
        """Return what a file imports.

        Args:
            content: of the file.
            package: that its relative imports start from.
            read: finds out, of the same two.
        """
        key = hashlib.sha256(package.encode() + b"\0" + content).hexdigest()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._new[key] = read(content, package)
        return found

    def __enter__(self) -> ImportCache:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._new:
            return
        known = _read(self._path) | self._new
        with suppress(OSError):
            write_atomically(self._path, json.dumps(known if len(known) <= _MOST else self._new))
        self._new = {}


def _read(path: Path) -> dict[str, Sequence[str]]:
    try:
        found: Any = read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: names
        for key, names in found.items()
        if isinstance(names, list) and all(isinstance(name, str) for name in names)
    }
