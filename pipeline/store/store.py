"""Content-addressed store: every stage's output under a key of its inputs, published by one atomic rename.

Layout of a run's folder:

    .store/          the store, where no other is named; see `place.py`. Its `lock` is the run's in any case
    everything else  the view: copies of the current artifacts, listed in `manifest.json`
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

from ...core.atomic_write import clear_partial_files, write_atomically
from ...core.errors import StageError, UsageError
from ...core.model_file import sha256_of
from .code_digest import code_digest
from .place import STORE, Place, is_work

MANIFEST = "manifest.json"
RECORD = "stage.json"
_KEY_LENGTH = 24
_FINGERPRINT = "stat:"
_RECORDED = {"files", "parents", "seed", "packages", "machine"}


@dataclass(frozen=True)
class Artifact:
    """A finished stage: a folder whose files are known by their digests."""

    stage: str
    key: str
    folder: Path
    record: Mapping[str, Any]
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def files(self) -> Mapping[str, str]:
        """Relative file names and their SHA-256."""
        return self.record["files"]

    def sha256(self, name: str) -> str:
        """The recorded digest of one file."""
        return self.files[name]

    def path(self, name: str) -> Path:
        """Return a file's path, having checked its content against the recorded digest.

        Raises:
            StageError: the file is gone or altered.
        """
        path = self.folder / name
        if name not in self._checked:
            if not path.is_file() or sha256_of(path) != self.files.get(name):
                raise StageError(f"{path}: altered since it was made; delete {self.folder} and build again")
            self._checked.add(name)
        return path

    def intact(self) -> bool:
        """Whether every file is there and as it was made, and the record is one of ours."""
        record: Any = self.record
        if not isinstance(record, dict) or not record.keys() >= _RECORDED or not isinstance(record["files"], dict):
            return False
        parents: Any = record["parents"]
        if not isinstance(parents, list) or not all(isinstance(name, str) for name in parents):
            return False
        try:
            for name in self.files:
                self.path(name)
        except StageError:
            return False
        return True


@dataclass(frozen=True)
class Stage:
    """A stage of a run: everything that its artifact depends on, and how it is made.

    Attributes:
        name: its name, which is also its folder's.
        config: everything of the configuration that matters, as JSON-able data.
        inputs: names and digests of what is read.
        code: modules whose sources matter (with all that they import).
        packages: distributions whose versions matter.
        parents: the artifacts it is made from, for the manifest.
        seed: the seed it runs under, for the manifest.
        resumable: whether the work goes on from files that a killed run left.
        trains: whether the processes that follow this one take part in the work, each in a folder of its own.
        shared: whether they take part in it in this one's folder.
    """

    name: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    code: Sequence[str]
    packages: Sequence[str]
    parents: Sequence[Artifact] = ()
    seed: int | None = None
    resumable: bool = False
    trains: bool = False
    shared: bool = False

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON-able data."""
        return {
            "stage": self.name,
            "config": self.config,
            "inputs": dict(self.inputs),
            "code": code_digest(*self.code),
            "packages": {package: _version(package) for package in self.packages},
        }


class Store:
    """The artifacts of one run.

    Several processes may share a store: what two of them want is made by one, while the other waits.

    Args:
        root: the run's folder; created when missing.
        notice: called with a line for people when something unusual is done.
        shared: the folder of artifacts that runs share; $EDGEPROOF_STORE when None, and without it the run's own.

    Raises:
        UsageError: `root` or the store is a file, or cannot be created or written.
    """

    leads = True

    def __init__(self, root: Path, notice: Callable[[str], None] = lambda _: None, shared: Path | None = None) -> None:
        if root.exists() and not root.is_dir():
            raise UsageError(f"--out {root}: is a file; a folder is needed")
        self._created = not root.exists()
        try:
            (root / STORE).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {root}: cannot be written ({error.strerror})") from None
        self.place = Place.of(root, shared)
        self.root = root
        self._taken: set[str] = set()
        self._notice = notice

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second run; one that ends with nothing done leaves no folder behind.

        Raises:
            UsageError: another process holds it.
        """
        with (self.root / STORE / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.root}: another edgeproof is building here") from None
            try:
                yield
            finally:
                files = (path for path in self.root.rglob("*") if path.is_file())
                if self._created and not any(is_work(path, self.root) for path in files):
                    shutil.rmtree(self.root)

    def make(self, stage: Stage, work: Callable[[Path], object]) -> Artifact:
        """Return the stage's artifact, running `work` only when there is none for these inputs yet.

        Args:
            stage: what it is made from, and how.
            work: writes the stage's files into the folder it is given.

        Raises:
            StageError: the work failed, or the store can no longer be read or written.
        """
        identity = stage.identity()
        waiting = f"{stage.name}: another edgeproof is making it; waiting"
        try:
            found = self._taken_from(identity)
            if found is not None:
                return found
            with self.place.making(stage.name, key_of(identity), lambda: self._notice(waiting)):
                return self._taken_from(identity, mend=True) or self._made(stage, identity, work)
        except OSError as error:
            where = error.filename2 or error.filename or self.place.folder
            raise StageError(f"{stage.name}: {error.strerror or error} ({where})") from error

    def _made(self, stage: Stage, identity: Mapping[str, Any], work: Callable[[Path], object]) -> Artifact:
        key = key_of(identity)
        folder, partial = self.place.artifact(stage.name, key), self.partial(identity)
        if not stage.resumable:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        started = time.time()
        try:
            work(partial)
            clear_partial_files(partial)
        except BaseException as error:
            if not stage.resumable:
                shutil.rmtree(partial, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise StageError(f"{stage.name}: {error.strerror or error} ({error.filename or partial})") from error
        files = {
            str(path.relative_to(partial)): sha256_of(path) for path in sorted(partial.rglob("*")) if path.is_file()
        }
        record = {
            **identity,
            "key": key,
            "seed": stage.seed,
            "parents": [f"{parent.stage}/{parent.key}" for parent in stage.parents],
            "files": files,
            "machine": machine(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "seconds": round(time.time() - started, 3),
        }
        (partial / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))
        with self.place.steady():
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                partial.rename(folder)
            except OSError:  # somebody was faster, where the file system knows no locks
                found = self.find(identity)
                if found is None:
                    raise
                shutil.rmtree(partial, ignore_errors=True)
                return found
        return Artifact(stage.name, key, folder, record)

    def partial(self, identity: Mapping[str, Any]) -> Path:
        """The folder in which a stage is being made."""
        return self.place.partial(identity["stage"], key_of(identity))

    def find(self, identity: Mapping[str, Any]) -> Artifact | None:
        """Return the artifact of an identity if it is there and whole; nothing is changed."""
        stage, key = identity["stage"], key_of(identity)
        folder = self.place.artifact(stage, key)
        try:
            artifact = Artifact(stage, key, folder, json.loads((folder / RECORD).read_text()))
            return artifact if artifact.intact() else None
        except (OSError, ValueError, RecursionError):
            return None

    def _taken_from(self, identity: Mapping[str, Any], *, mend: bool = False) -> Artifact | None:
        """Return an artifact if it is there, which is not removed from now on; with `mend`, remove one that is broken.

        That it is being used is said even where it is yet to be made: what a killed run left of it stays then.
        """
        stage, key = identity["stage"], key_of(identity)
        folder = self.place.artifact(stage, key)
        with self.place.steady():
            self._refer(f"{stage}/{key}")
            found = self.find(identity)
            if found is not None:
                with suppress(OSError):  # somebody else's, perhaps
                    os.utime(folder)  # when it was used last, by which `store prune` chooses
        if found is None and mend and os.path.lexists(folder):
            self._notice(f"{folder}: altered since it was made; making it again")
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
            else:
                folder.unlink()
        return found

    def _refer(self, artifact: str) -> None:
        if artifact not in self._taken:
            self._taken.add(artifact)
            self.place.refer(self._taken | self.place.taken())

    def publish(
        self,
        view: Mapping[str, tuple[Artifact, str]],
        texts: Mapping[str, str],
        *,
        request: str,
        external: Mapping[str, str],
    ) -> None:
        """Bring the view up to date and write `manifest.json` last.

        Args:
            view: path in the run's folder to (artifact, file name).
            texts: path in the run's folder to text that follows from the artifacts (report, recipe).
            request: digest of what was asked for; see `finished_files`.
            external: paths outside the folder that were read, and their SHA-256 or `fingerprint`.
        """
        before = listed(_manifest(self.root)) or []
        entries = manifest_entries(view)
        for path, (artifact, name) in view.items():
            source = artifact.path(name)
            if not _same(self.root / path, artifact.sha256(name)):
                write_atomically(self.root / path, source.read_bytes())
        for path, text in texts.items():
            write_atomically(self.root / path, text)
            entries.append({"path": path, "sha256": hashlib.sha256(text.encode()).hexdigest()})
        kept = {inside(self.root, entry["path"]) for entry in entries}
        for entry in before:
            # The manifest may be anybody's: what it lists is removed only where a run could have put it.
            stale = inside(self.root, entry["path"])
            if stale is not None and stale not in kept and _is_plain(stale):
                stale.unlink()
        manifest = {
            "schema_version": 1,
            "request": request,
            "external": dict(external),
            "artifacts": entries,
            "store": sorted(self._taken),
        }
        write_atomically(self.root / MANIFEST, json.dumps(manifest, indent=1))
        self.place.refer(self._taken)  # and no more to what earlier runs took here


def manifest_entries(view: Mapping[str, tuple[Artifact, str]]) -> list[dict[str, Any]]:
    """Return what `manifest.json` says of artifacts; `view` as of `Store.publish`."""
    return [
        {
            "path": path,
            "sha256": artifact.sha256(name),
            "stage": artifact.stage,
            "key": artifact.key,
            "parents": artifact.record["parents"],
            "seed": artifact.record["seed"],
            "packages": artifact.record["packages"],
            "machine": artifact.record["machine"],
        }
        for path, (artifact, name) in view.items()
    ]


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the key under which a stage's result is stored."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


def finished_files(root: Path, request: str) -> tuple[str, ...] | None:
    """Return the files of a run's folder if it answers exactly this request and every file is intact, else None.

    Nothing is created or changed.

    Args:
        root: the run's folder.
        request: digest of what is asked for, as given to `Store.publish`.
    """
    manifest = _manifest(root)
    entries, external = listed(manifest), manifest.get("external")
    if manifest.get("request") != request or entries is None or not isinstance(external, dict):
        return None
    files = [(inside(root, entry["path"]), entry["sha256"]) for entry in entries]
    files += [(Path(path), digest) for path, digest in external.items()]
    try:
        intact = all(path is not None and isinstance(digest, str) and _same(path, digest) for path, digest in files)
    except (OSError, ValueError):  # a path that no system knows, or a folder that may not be read
        return None
    return tuple(entry["path"] for entry in entries) if intact else None


def _manifest(root: Path) -> dict[str, Any]:
    try:
        found = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def listed(manifest: Any) -> list[dict[str, Any]] | None:
    """Return the artifacts that a `manifest.json` lists; None where it is not one of ours.

    Args:
        manifest: what the file holds.
    """
    entries = manifest.get("artifacts") if isinstance(manifest, dict) else None
    return entries if isinstance(entries, list) and all(map(_is_entry, entries)) else None


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    parents = entry.get("parents", [])
    # A text that follows from the artifacts has no stage.
    texts = [entry.get(key) for key in ("path", "sha256", *(("stage", "key") if "stage" in entry else ()))]
    return isinstance(parents, list) and all(isinstance(text, str) for text in [*texts, *parents])


def inside(root: Path, path: str) -> Path | None:
    """Return where a manifest's path lies in a run's folder; None where it leads out of it, or into its store.

    The file itself may be a link; a folder on the way may not lead out.

    Args:
        root: the run's folder.
        path: as the manifest has it.
    """
    relative = PurePath(path)
    if relative.is_absolute() or not relative.name or ".." in relative.parts:
        return None
    try:
        whole, folder = root.resolve(), (root / relative).parent.resolve()
    except (OSError, ValueError, RuntimeError):  # no such name can be, or links that lead in a circle
        return None
    if not folder.is_relative_to(whole):
        return None
    place = folder / relative.name
    return None if place.relative_to(whole).parts[0].casefold() == STORE else place


def amend(root: Path, texts: Mapping[str, str]) -> None:
    """Replace or add texts that follow from a finished run, and bring its `manifest.json` up to date, last."""
    manifest = _manifest(root)
    for path, text in texts.items():
        write_atomically(root / path, text)
    if not manifest:
        return
    added = [{"path": path, "sha256": hashlib.sha256(text.encode()).hexdigest()} for path, text in texts.items()]
    kept = [entry for entry in listed(manifest) or [] if entry["path"] not in texts]
    write_atomically(root / MANIFEST, json.dumps({**manifest, "artifacts": [*kept, *added]}, indent=1))


def machine() -> dict[str, Any]:
    """What kind of machine this is, without naming it."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def fingerprint(path: Path) -> str:
    """Digest of the names, sizes and times of a file, or of all files in a folder: told apart without reading them.

    A data set's files may be gigabytes, and a finished run is looked at in under a second.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            about = file.stat()
            digest.update(f"{file.relative_to(path)}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return _FINGERPRINT + digest.hexdigest()


def _is_plain(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink()
    except OSError:  # too long a name
        return False


def _same(path: Path, digest: str) -> bool:
    if digest.startswith(_FINGERPRINT):
        return fingerprint(path) == digest
    return path.is_file() and sha256_of(path) == digest
