"""Manifest of a run (`manifest.json`): which files it has, from which artifacts, and whether they are intact."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ...core.atomic_write import write_atomically, write_in_turn
from ...core.model_file import sha256_of
from ...core.reading.checksum import CHECKSUM, is_whole, with_checksum
from .artifact import Artifact
from .place import STORE, record_in

MANIFEST = "manifest.json"
# The first that has a checksum.
_VERSION = 2
# Where the files of `external` lie; in the run's store, which nobody publishes.
_PLACES = "external.json"
_FINGERPRINT = "stat:"
# The request that a later run into the folder was started with, until that one is published.
_SUPERSEDED = "superseded_by"
# Of an entry that is being amended: the digest that the file had before, None where there was none.
_WAS = "was"


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
            "started": artifact.record.get("started"),
        }
        for path, (artifact, name) in view.items()
    ]


def text_entries(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what it says of texts that follow from artifacts; `texts` as of `Store.publish`."""
    return [{"path": path, "sha256": hashlib.sha256(text.encode()).hexdigest()} for path, text in texts.items()]


def finished_files(root: Path, request: str) -> tuple[str, ...] | None:
    """Return the files of a run's folder if it answers exactly this request and every file is intact, else None.

    Nothing is created or changed.

    Args:
        root: the run's folder.
        request: digest of what is asked for, as given to `Store.publish`.
    """
    manifest = record_in(root / MANIFEST)
    entries, external = listed(manifest), external_files(root, manifest)
    answers = manifest.get("request") == request and not superseded(manifest)
    if not answers or entries is None or external is None:
        return None
    try:
        intact = not any(unlike(root, entry) for entry in entries)
        intact = intact and all(
            isinstance(digest, str) and same(Path(path), digest) for path, digest in external.items()
        )
    except (OSError, ValueError):  # a path that no system knows, or a folder that may not be read
        return None
    return tuple(entry["path"] for entry in entries) if intact else None


def external_files(root: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the paths outside a run's folder that it was made from, and their digests; None where none are listed.

    Args:
        root: the run's folder.
        manifest: its manifest, in which older versions have the paths themselves.
    """
    found, places = manifest.get("external"), record_in(root / STORE / _PLACES)
    if not isinstance(found, dict):
        return None
    return {place if isinstance(place := places.get(name), str) else name: digest for name, digest in found.items()}


def named_external(root: Path, external: Mapping[str, str]) -> dict[str, str]:
    """Return what `manifest.json` says of files outside the folder, by name alone; where they lie the store remembers.

    Args:
        root: the run's folder.
        external: as of `Store.publish`.
    """
    places = {f"{number}/{Path(path).name}": path for number, path in enumerate(sorted(external))}
    write_atomically(root / STORE / _PLACES, json.dumps(places, indent=1))
    return {name: external[path] for name, path in places.items()}


def listed(manifest: Any) -> list[dict[str, Any]] | None:
    """Return the artifacts that a `manifest.json` lists; None where it is not one of ours, or not as it was written.

    Args:
        manifest: what the file holds.
    """
    whole = isinstance(manifest, dict) and (_is_old(manifest) or is_whole(manifest))
    return named_in(manifest) if whole else None


def named_in(manifest: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return what `listed` does, of an altered manifest too."""
    entries = manifest.get("artifacts")
    return entries if isinstance(entries, list) and all(map(_is_entry, entries)) else None


def manifest_text(content: Mapping[str, Any]) -> str:
    """Return the text of a `manifest.json`, with its checksum."""
    return json.dumps(with_checksum({**content, "schema_version": _VERSION}), indent=1)


def _is_old(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is of a version that had no checksum, and does not only say so."""
    return manifest.get("schema_version") in (None, 1) and CHECKSUM not in manifest


def unlike(root: Path, entry: Mapping[str, Any]) -> str:
    """In what a listed file is not as its manifest says: a word for messages, empty where it is.

    Args:
        root: the run's folder.
        entry: of the manifest.
    """
    path = inside(root, entry["path"])
    if path is None:
        return "outside the run"
    if not os.path.isfile(path):  # Path's own raises where a name is too long
        return "" if _WAS in entry and entry[_WAS] is None else "missing"
    return "" if sha256_of(path) in (entry["sha256"], entry.get(_WAS)) else "altered since the run"


def superseded(manifest: Mapping[str, Any]) -> bool:
    """Whether another request was begun in the folder since, and did not finish."""
    return _SUPERSEDED in manifest


def supersede(root: Path, request: str) -> None:
    """Say of a finished run that its folder is being made anew for another request; publishing ends that."""
    manifest = record_in(root / MANIFEST)
    known = listed(manifest) is not None  # what was altered gets no checksum that fits
    if known and manifest.get("request") != request and not superseded(manifest):
        write_atomically(root / MANIFEST, manifest_text({**manifest, _SUPERSEDED: request}))


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    parents, packages = entry.get("parents", []), entry.get("packages", {})
    if not isinstance(packages, dict) or not all(isinstance(version, str) for version in packages.values()):
        return False
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
    """Replace or add texts that follow from a finished run, and bring its `manifest.json` up to date.

    The run can be read at any moment: until all texts stand the manifest lists the digests before and after. Where
    the disk is full nothing is changed.
    """
    manifest = record_in(root / MANIFEST)
    files = [(root / path, text) for path, text in texts.items()]
    entries = listed(manifest)
    if entries is None:
        write_in_turn(files)
        return
    kept = [entry for entry in entries if entry["path"] not in texts]
    before = {entry["path"]: entry["sha256"] for entry in entries}
    after = text_entries(texts)
    between = [{**entry, _WAS: before.get(entry["path"])} for entry in after]

    def listing(entries: Sequence[Mapping[str, Any]]) -> tuple[Path, str]:
        return root / MANIFEST, manifest_text({**manifest, "artifacts": [*kept, *entries]})

    write_in_turn([listing(between), *files, listing(after)])


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


def same(path: Path, digest: str) -> bool:
    """Whether a file has a digest, its SHA-256 or `fingerprint`."""
    if digest.startswith(_FINGERPRINT):
        return fingerprint(path) == digest
    return path.is_file() and sha256_of(path) == digest
