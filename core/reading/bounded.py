"""Bounded file read: a plain file of at most so many bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def read_bounded(path: Path, most: int) -> bytes:
    """Return what a file holds.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        ValueError: it is a pipe, a device or a folder, or larger; or no system knows such a path.
        OSError: it is missing or cannot be read.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{in_bytes(size)}, where {in_bytes(most)} are the most")
        content = file.read(most + 1)  # some systems' files say 0 bytes
    if len(content) > most:
        raise ValueError(f"more than {in_bytes(most)}")
    return content


def opened(path: Path) -> BinaryIO:
    """Open a plain file to be read.

    Raises:
        ValueError: it is a pipe, a device or a folder; or no system knows such a path.
        OSError: it is missing or cannot be read.
    """
    # Not to wait for somebody who writes into a pipe.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("no plain file")
    return open(descriptor, "rb")


def in_bytes(count: int) -> str:
    """Return a number of bytes for people: `3.0 GiB`, `512 bytes`."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def check_encodable(text: str) -> None:
    """Raise ValueError where a text has a lone surrogate, which no UTF-8 file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text[:40]!r} has a lone surrogate") from None
