"""Content-addressed store: every stage's output under a key of its inputs, published by one atomic rename.

Layout of a run's folder:

    .store/          the store, where no other is named; see `place.py`. Its `lock` is the run's in any case
    everything else  the view: copies of the current artifacts, listed in `manifest.json`
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...core.atomic_write import clear_partial_files, write_atomically
from ...core.errors import StageError, UsageError
from ...core.model_file import sha256_of
from ...core.reading.json_text import read_json
from .artifact import RECORD, Artifact, Stage, key_of
from .machine import machine
from .manifest import (
    MANIFEST,
    inside,
    listed,
    manifest_entries,
    manifest_text,
    named_external,
    same,
    supersede,
    text_entries,
)
from .place import STORE, Place, is_work, record_in


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
            self._clear()
            try:
                yield
            finally:
                files = (path for path in self.root.rglob("*") if path.is_file())
                if self._created and not any(is_work(path, self.root) for path in files):
                    shutil.rmtree(self.root)

    def _clear(self) -> None:
        """Remove what killed processes left of the run's own files; a store may be others' too."""
        for folder in self.root.iterdir():
            if folder.name != STORE and folder.is_dir() and not folder.is_symlink():
                clear_partial_files(folder)
        for left in self.root.glob(".*.partial"):
            left.unlink(missing_ok=True)
        self.place.clear_record()

    def begin(self, request: str) -> None:
        """Say that what the folder shows of another request is not this run's, until it is published.

        Args:
            request: as of `publish`.
        """
        supersede(self.root, request)

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
            artifact = Artifact(stage, key, folder, read_json(folder / RECORD))
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
        before = listed(record_in(self.root / MANIFEST)) or []
        entries = manifest_entries(view) + text_entries(texts)
        for path, (artifact, name) in view.items():
            source = artifact.path(name)
            if not same(self.root / path, artifact.sha256(name)):
                write_atomically(self.root / path, source.read_bytes())
        for path, text in texts.items():
            write_atomically(self.root / path, text)
        kept = {inside(self.root, entry["path"]) for entry in entries}
        for entry in before:
            # The manifest may be anybody's: what it lists is removed only where a run could have put it.
            stale = inside(self.root, entry["path"])
            if stale is not None and stale not in kept and _is_plain(stale):
                stale.unlink()
        manifest = {
            "request": request,
            "external": named_external(self.root, external),
            "artifacts": entries,
            "store": sorted(self._taken),
        }
        write_atomically(self.root / MANIFEST, manifest_text(manifest))
        self.place.refer(self._taken)  # and no more to what earlier runs took here


def _is_plain(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink()
    except OSError:  # too long a name
        return False
