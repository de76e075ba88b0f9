"""Atomic file replacement: readers see the old content or the new, never a part; nothing stays where writing fails."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h and fs.h


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file, and the folders above it.

    Args:
        path: the file; it is replaced where it is there.
        content: bytes, or text that is stored as UTF-8.

    Raises:
        OSError: it cannot be written; an old file stays as it was.
    """
    write_in_turn([(path, content)])


def write_in_turn(files: Sequence[tuple[Path, bytes | str]]) -> None:
    """Write several files; all of their bytes are on the disk before the first of them takes its place.

    Args:
        files: as of `write_atomically`, in the order in which they take their places; a path may be there twice.

    Raises:
        OSError: one cannot be written; where it is for want of space, all old files stay as they were.
    """
    partials: list[Path] = []
    try:
        for path, content in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            partials.append(path.with_name(f".{path.name}.{os.getpid()}.{len(partials)}.partial"))
            partials[-1].write_bytes(content.encode() if isinstance(content, str) else content)
        for partial, (path, _) in zip(partials, files, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


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


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders change places in one step, in which neither is gone; say whether the system can.

    For Linux, on most file systems; elsewhere nothing is done.
    """
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def take_place(made: Path, place: Path) -> None:
    """Put what was made in a scratch folder where it belongs; a folder that stands there is left in the scratch folder.

    In one step where the system can, so that neither is ever gone.
    """
    if place.is_dir():
        if exchange(made, place):
            return
        place.rename(made.with_name(f"{made.name}.before"))
    made.replace(place)


def clear_partial_files(folder: Path) -> None:
    """Remove, from a folder that nobody writes in any more, what killed processes left of the files they replaced."""
    for path in folder.rglob(".*.partial"):
        path.unlink(missing_ok=True)
