"""Shared artifact cache on disk: its layout, its locks between processes, and which runs refer to what.

Layout of a store, a run's own `.store` or one that runs share:

    <stage>/<key>/         a finished stage: its files and `stage.json`; never changed again
    partial/<stage>-<key>/ a stage at work; whatever a killed run left here is reused or cleared
    locks/                 of the store (shared: an artifact is taken; exclusive: some are removed), and of every stage
                           at work; all of them vanish with the process that holds them
    runs/<name>.json       a run and the artifacts that it has taken, so that they are not removed
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError
from ...core.reading.json_text import read_json

STORE = ".store"
ENVIRONMENT = "EDGEPROOF_STORE"
PARTIAL, LOCKS, RUNS, TRASH = "partial", "locks", "runs", "trash"
# What is no artifact.
KEEPING = (PARTIAL, LOCKS, RUNS, TRASH)
_AT_WORK = re.compile(r".+-[0-9a-f]{24}")


@dataclass(frozen=True)
class Place:
    """A store's folder.

    Attributes:
        folder: the folder.
        run: the run whose artifacts are taken from it.
    """

    folder: Path
    run: Path

    @classmethod
    def of(cls, run: Path, shared: Path | None = None) -> Place:
        """The store of a run: a named one, $EDGEPROOF_STORE, or the run's own.

        Raises:
            UsageError: it cannot be created or written.
        """
        found = cls.named(run, shared)
        folder, named = found.folder, os.environ.get(ENVIRONMENT) if shared is None else shared
        what = f"--out {run}" if not named else f"{ENVIRONMENT}={named}" if shared is None else f"--store {named}"
        try:
            for name in (PARTIAL, LOCKS, RUNS):
                (folder / name).mkdir(parents=True, exist_ok=True)
            probe = os.access(folder / PARTIAL, os.W_OK)
        except OSError as error:
            raise UsageError(f"{what}: cannot be written ({error.strerror})") from None
        if not probe:
            raise UsageError(f"{what}: cannot be written")
        return found

    @classmethod
    def named(cls, run: Path, shared: Path | None = None) -> Place:
        """The store of a run, which may not be there yet; nothing is created."""
        named = os.environ.get(ENVIRONMENT) if shared is None else shared
        return cls(Path(named).expanduser() if named else run / STORE, run)

    def artifact(self, stage: str, key: str) -> Path:
        """Where a finished stage lies."""
        return self.folder / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Where a stage is being made."""
        return self.folder / PARTIAL / partial_name(stage, key)

    @contextmanager
    def steady(self, *, removing: bool = False) -> Iterator[None]:
        """Hold off whoever removes artifacts; with `removing`, whoever takes or publishes one."""
        (self.folder / LOCKS).mkdir(exist_ok=True)
        with (self.folder / LOCKS / "store.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if removing else fcntl.LOCK_SH)
            yield

    @contextmanager
    def making(self, stage: str, key: str, waits: Callable[[], object]) -> Iterator[None]:
        """Be the one process that makes an artifact; `waits` is called where another one is, and until it ends."""
        path = self.folder / LOCKS / f"{partial_name(stage, key)}.lock"
        while True:
            with path.open("a") as lock:
                if not _took(lock.fileno(), wait=False):
                    waits()
                    _took(lock.fileno(), wait=True)
                if not _is_at(lock.fileno(), path):  # its holder is done, and has removed it
                    continue
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return

    def is_at_work(self, name: str) -> bool:
        """Whether a live process works in a folder of `partial`; a lock that a killed one left is removed."""
        path = self.folder / LOCKS / f"{name}.lock"
        try:
            with path.open() as lock:
                if not _took(lock.fileno(), wait=False):
                    return True
                if _is_at(lock.fileno(), path):  # only while it is held may it be removed
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        return False

    def taken(self) -> set[str]:
        """The artifacts that the run has taken so far, `<stage>/<key>`; see `refer`."""
        return set(texts_in(record_in(self._record).get("artifacts")))

    def refer(self, artifacts: Iterable[str]) -> None:
        """Say which artifacts the run refers to, `<stage>/<key>`, finished or about to be made."""
        record = {"run": self._name, "artifacts": sorted(artifacts)}
        write_atomically(self._record, json.dumps(record, indent=1))

    def clear_record(self) -> None:
        """Remove what killed processes left of the run's own record, which one process alone may write."""
        for left in self._record.parent.glob(f".{self._record.name}.*.partial"):
            left.unlink(missing_ok=True)

    @property
    def _name(self) -> str:
        """The run's path; from the store where it is the run's own, which may be copied or moved with it."""
        run = self.run.resolve()
        return ".." if self.folder.resolve() == run / STORE else str(run)

    @property
    def _record(self) -> Path:
        name = "own" if self._name == ".." else hashlib.sha256(self._name.encode()).hexdigest()[:24]
        return self.folder / RUNS / f"{name}.json"


def partial_name(stage: str, key: str) -> str:
    """The name of a stage at work."""
    return f"{stage.replace('/', '-')}-{key}"


def is_partial_name(name: str) -> bool:
    """Whether `partial_name` gives such names: what else lies in a store's folders is somebody else's."""
    return _AT_WORK.fullmatch(name) is not None


def record_in(path: Path) -> dict[str, Any]:
    """What a JSON file of ours holds; nothing where it is missing or broken."""
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def texts_in(found: object) -> list[str]:
    """The texts of a list; none where it is none."""
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def is_work(path: Path, root: Path) -> bool:
    """Whether a file in a run's folder is of use to anybody, and not only about who holds or refers to what."""
    parts = path.relative_to(root).parts
    return not (parts[0] == STORE and (parts[1:] == ("lock",) or parts[1] in (LOCKS, RUNS)))


def _took(lock: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(lock)
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)
