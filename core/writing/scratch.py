"""Scratch folder: a temporary folder that goes with its block or, where its process was killed, with the next one."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".edgeproof-scratch-"
_OURS = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
_A_FILE = re.compile(r"[^\s'\"]*" + _OURS.pattern + r"/[\w./-]*\w")


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """Give a folder of this process's own, and remove it; those that killed processes left beside it are removed first.

    A lock that vanishes with its process tells them apart; where the file system knows none, they stay.

    Args:
        place: the folder that it lies in; the system's for temporary files when None.

    Raises:
        OSError: it cannot be created.
    """
    where = Path(tempfile.gettempdir()) if place is None else place
    _clear(where)
    folder, lock = _made(where)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def without_scratch(text: object, file: object) -> str:
    """A message in which every file of a scratch folder is called as the user calls the one that it was made of.

    Args:
        text: such as a runtime's own words.
        file: as the user calls it.
    """
    return _A_FILE.sub(lambda _: str(file), str(text))


def _made(where: Path) -> tuple[Path, int]:
    """A new folder, and its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
        with suppress(FileNotFoundError):  # taken for one that was left, before it was held
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _clear(where: Path) -> None:
    with suppress(OSError), os.scandir(where) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):  # at work, or another user's
                    _remove(Path(entry.path))


def _remove(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
