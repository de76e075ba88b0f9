"""Atomic file replacement: readers see the old content or the new, never a part; nothing stays where writing fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file, and the folders above it.

    Args:
        path: the file; it is replaced where it is there.
        content: bytes, or text that is stored as UTF-8.

    Raises:
        OSError: it cannot be written; an old file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file beside `path` that takes its place when the block ends well, and is removed otherwise.

    The name is this process's own, so that two of them may write the same file.

    Args:
        path: the file to be; its folder must be there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def clear_partial_files(folder: Path) -> None:
    """Remove, from a folder that nobody writes in any more, what killed processes left of the files they replaced."""
    for path in folder.rglob(".*.partial"):
        path.unlink(missing_ok=True)
