"""Cache eviction: what a store holds, which runs refer to it, and removing what none does any more."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from .artifact import RECORD
from .manifest import MANIFEST, named_in
from .place import (
    KEEPING,
    LOCKS,
    PARTIAL,
    RUNS,
    STORE,
    TRASH,
    Place,
    is_partial_name,
    partial_name,
    record_in,
    texts_in,
)

_KEY = re.compile(r"[0-9a-f]{24}")
_RECORD_OF_RUN = re.compile(r"(own|[0-9a-f]{24})\.json")
_THROWN_AWAY = re.compile(r"\d+-\d+")
_AGE_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Stored:
    """Something in a store.

    Attributes:
        stage: its name; a stage that a killed process left unfinished has none of its own, only its folder's.
        key: of its inputs; empty where it is unfinished.
        folder: where it lies.
        size: of its files, in bytes.
        made: when its last file was written, in seconds since 1970.
        used: when a run took it last, likewise.
        runs: folders of the runs that refer to it, themselves or by something that was made from it.
    """

    stage: str
    key: str
    folder: Path
    size: int
    made: float
    used: float
    runs: Sequence[str]

    @property
    def name(self) -> str:
        """As runs refer to it."""
        return f"{self.stage}/{self.key}" if self.key else self.stage


@dataclass(frozen=True)
class Pruned:
    """What `prune` removed, or would; `kept` are in use, or too young."""

    removed: Sequence[Stored]
    kept: Sequence[Stored]

    @property
    def freed(self) -> int:
        """Bytes of what was removed."""
        return sum(each.size for each in self.removed)


def store_at(folder: Path) -> Place:
    """Return the store that a folder is, or that lies in a run's folder.

    Raises:
        UsageError: it is neither.
    """
    for place, marks in ((folder / STORE, (PARTIAL,)), (folder, (PARTIAL, LOCKS))):  # older runs' have no locks
        if all((place / mark).is_dir() for mark in marks):
            return Place(place, folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name a store, or the folder of a run")
    raise UsageError(f"{folder}: no store, nor a run that has one of its own; name the folder of --store")


def contents(place: Place) -> list[Stored]:
    """Everything that a store holds, by stage, the oldest first; what a live process is making is left out."""
    finished: dict[str, Path] = {}
    for folder in sorted(record.parent for record in place.folder.rglob(RECORD)):
        relative = folder.relative_to(place.folder)
        if len(relative.parts) > 1 and relative.parts[0] not in KEEPING and _KEY.fullmatch(folder.name):
            finished[str(relative)] = folder
    users = _users(place, finished)
    found = [_stored(name.rpartition("/")[0], folder.name, folder, users[name]) for name, folder in finished.items()]
    for folder in sorted((place.folder / PARTIAL).iterdir()):
        if folder.is_dir() and is_partial_name(folder.name) and not place.is_at_work(folder.name):
            found.append(_stored(f"{PARTIAL}/{folder.name}", "", folder, users.get(folder.name, ())))
    return sorted(found, key=lambda each: (each.stage, each.made))


def prune(place: Place, *, older_than: float = 0.0, dry_run: bool = False) -> Pruned:
    """Remove what no run refers to and no live process is making, and forget the runs that are gone.

    Safe beside builds: what one takes meanwhile stays. What is removed goes away at once or, killed, the next time.
    What does not bear a name that a store gives is somebody else's, and stays.

    Args:
        place: the store.
        older_than: seconds for which nobody has used it.
        dry_run: remove nothing, only say what would be.
    """
    trash = place.folder / TRASH / f"{os.getpid()}-{time.time_ns()}"
    with place.steady(removing=True):
        found = contents(place)
        latest = time.time() - older_than
        removed = [each for each in found if not each.runs and each.used <= latest]
        if not dry_run:
            trash.mkdir(parents=True)
            for number, each in enumerate(removed):
                each.folder.rename(trash / str(number))
                _remove_empty(each.folder.parent, place.folder)
            _forget(place)
    if not dry_run:
        _empty(place.folder / TRASH)
    return Pruned(removed, [each for each in found if each not in removed])


def seconds_of(age: str) -> float:
    """Read an age such as `30d`, `12h`, `2w`, `90m`.

    Raises:
        UsageError: it is none.
    """
    number, unit = age[:-1], age[-1:]
    if unit not in _AGE_UNITS or not number.isdecimal() or len(number) > 6:
        raise UsageError(f"--older-than {age}: must be a whole number and m, h, d or w, such as 30d")
    return float(int(number) * _AGE_UNITS[unit])


def _users(place: Place, finished: Mapping[str, Path]) -> dict[str, list[str]]:
    """The runs that refer to each artifact or, under the name of its folder, to one that is unfinished."""
    parents = {name: texts_in(record_in(folder / RECORD).get("parents")) for name, folder in finished.items()}
    users: dict[str, list[str]] = {name: [] for name in finished}
    for run in _runs(place):
        for name in _with_parents(_referred(place, run), parents):
            stage, _, key = name.rpartition("/")
            users.setdefault(name if name in finished else partial_name(stage, key), []).append(str(run))
    return users


def _with_parents(names: Iterable[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Names and all that they were made from: a change of the last stage needs what came before."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += parents.get(name, ())
    return seen


def _records(place: Place) -> list[tuple[Path, Path]]:
    """Every record of a run, and the run's folder."""
    found: list[tuple[Path, Path]] = []
    for record in sorted((place.folder / RUNS).glob("*.json")):
        run = record_in(record).get("run")
        if _RECORD_OF_RUN.fullmatch(record.name) and isinstance(run, str) and run:
            found.append((record, Path(os.path.normpath(place.folder.absolute() / run))))
    return found


def _runs(place: Place) -> list[Path]:
    """The runs that are there still; a run's own store is always that run's, whatever is recorded."""
    found = {run: None for _, run in _records(place) if _is_there(run)}
    if place.folder.name == STORE:
        found[place.folder.absolute().parent] = None
    return list(found)


def _is_there(run: Path) -> bool:
    """Whether a run's folder is there; one that cannot be looked into may be."""
    try:
        return run.is_dir()
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG


def _referred(place: Place, run: Path) -> set[str]:
    """What a run refers to: by its manifest, and by its record where it has not published what it took."""
    manifest = record_in(run / MANIFEST)
    names = set(texts_in(manifest.get("store")))
    for entry in named_in(manifest) or []:  # altered or not: it is no reason to remove more
        if "stage" in entry:
            names |= {f"{entry['stage']}/{entry['key']}", *texts_in(entry.get("parents"))}
    for record, recorded in _records(place):
        if recorded == run:
            names |= set(texts_in(record_in(record).get("artifacts")))
    return names


def _forget(place: Place) -> None:
    """Remove the records of runs that are gone, and locks that nobody holds."""
    for record, run in _records(place):
        if not _is_there(run):
            record.unlink(missing_ok=True)
    for lock in (place.folder / LOCKS).glob("*.lock"):
        if is_partial_name(lock.stem):
            place.is_at_work(lock.stem)


def _stored(stage: str, key: str, folder: Path, runs: Sequence[str]) -> Stored:
    abouts = [path.stat() for path in folder.rglob("*") if path.is_file()]
    used = folder.stat().st_mtime
    made = max((about.st_mtime for about in abouts), default=used)
    return Stored(stage, key, folder, sum(about.st_size for about in abouts), made, max(used, made), tuple(runs))


def _empty(trash: Path) -> None:
    for folder in trash.iterdir():
        if _THROWN_AWAY.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # somebody else's, or another process's
        trash.rmdir()


def _remove_empty(folder: Path, root: Path) -> None:
    while folder not in (root, root / PARTIAL):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
