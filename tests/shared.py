"""What many tests start from, made once for all workers of a run: by whichever asks first.

The folder is a fresh one each run, or the one that EDGEPROOF_TEST_STORE names, which stays for the next run. What lies
there is found again only while nothing that made it has changed.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = "EDGEPROOF_TEST_STORE"
_OF_THIS_RUN = "EDGEPROOF_TEST_RUN"


def shared_folder() -> Path:
    """The folder that all workers of this run share."""
    return Path(os.environ[_OF_THIS_RUN])


def _prepare() -> None:
    """In the main process, before the workers start: they inherit the folder's name."""
    if kept := os.environ.get(KEPT):
        folder = Path(kept).resolve()
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="edgeproof-tests-"))
        maker = os.getpid()  # and none of its forks
        atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == maker else None)
    os.environ[_OF_THIS_RUN] = str(folder)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled, in this worker or in another one; not to be changed."""
    place = shared_folder() / f"{name}-{sources_digest()}"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            partial = place.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
            partial.mkdir()
            make(partial)
            partial.rename(place)
    return place


@cache
def sources_digest() -> str:
    """A digest of everything that decides what is made: the product, the tests' own helpers, the pinned packages."""
    rooms = ("core", "edgeproof", "pipeline", "stages", "targets")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    data = (path for path in (ROOT / "tests" / "data").rglob("*") if path.is_file())
    paths += [*(ROOT / "tests").rglob("conftest.py"), *data, ROOT / "constraints.txt"]
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


if _OF_THIS_RUN not in os.environ:
    _prepare()
