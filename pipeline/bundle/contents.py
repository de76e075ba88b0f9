"""Bundle manifest, `bundle.json`: what a bundle holds, and where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.errors import UsageError
from ...core.reading.checksum import CHECKSUM, is_whole, with_checksum
from ...core.reading.json_text import read_json
from ...core.registry import nearest
from ...targets.option_values import check_types

# In bytes, of a path and of each of its names: what every file system has.
_LONGEST, _LONGEST_NAME = 1024, 255
CONTENTS = "bundle.json"
SIGNATURE = "bundle.sig"
# What is written, and what is read: 2 has a checksum of its own.
SCHEMA_VERSION = 2
_READ = (1, 2)
PACKS, BITS = "adversarial", "verification"


@dataclass(frozen=True)
class BundledFile:
    """One file: its path in the bundle (with `/`), its SHA-256 and its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class BundledEngine:
    """One engine of the run.

    Attributes:
        name: the subject's in the report.
        target: the runtime that ran it.
        options: what it was built and run with, where that is not the target's own choice.
        precision: for people; None where the run does not say.
        graph: path of the ONNX file that it was built from; None where the run did not keep it.
        graph_sha256: its digest, external data included.
        engine: path of the engine as it was built; None where it runs only on the machine that built it.
        engine_sha256: its digest; the verdict belongs to this one.
        reference: the subject whose bits a replay is held against: itself, or one that was attacked in its place.
    """

    name: str
    target: str
    options: Mapping[str, Any]
    precision: str | None
    graph: str | None
    graph_sha256: str | None
    engine: str | None
    engine_sha256: str
    reference: str

    @property
    def attacked(self) -> bool:
        """Whether the run attacked this very engine."""
        return self.reference == self.name


@dataclass(frozen=True)
class Contents:
    """What `bundle.json` says.

    Attributes:
        name: the run's.
        edgeproof: the version that made the bundle.
        recipe_digest: the run's.
        threat_model: `norm` and `eps`.
        dataset: `name` and `digest` of the data set that was attacked.
        attacks: package and version.
        verdict: the run's own.
        engines: what ships.
        files: every file but this one and the signature, by path.
        provenance: of each stage that a file comes from or is made of: `stage`, `key`, `parents`, `seed`, `packages`,
            `machine`.
        schema_version: that it was read in, and is written in again.
    """

    name: str
    edgeproof: str
    recipe_digest: str
    threat_model: Mapping[str, Any]
    dataset: Mapping[str, Any]
    attacks: str
    verdict: str
    engines: tuple[BundledEngine, ...]
    files: tuple[BundledFile, ...]
    provenance: tuple[Mapping[str, Any], ...] = field(default=())
    schema_version: int = SCHEMA_VERSION

    def text(self) -> str:
        """The content of `bundle.json`; the same for the same bundle."""
        content = asdict(self)
        return (
            json.dumps(content if self.schema_version == 1 else with_checksum(content), indent=1, sort_keys=True) + "\n"
        )

    @property
    def sha256(self) -> str:
        """The digest of `bundle.json`, and so of everything in the bundle."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def engine(self, name: str | None) -> BundledEngine:
        """Return an engine by its name, or the only one.

        Raises:
            UsageError: there is none of that name, or several and none is named.
        """
        names = [engine.name for engine in self.engines]
        if name is None and len(names) == 1:
            return self.engines[0]
        if name is None:
            raise UsageError(f"the bundle has several engines; name one with --subject: {', '.join(names)}")
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise UsageError(f"--subject: the bundle has no engine {name!r}{nearest(name, names)} ({', '.join(names)})")

    def sha256_of(self, path: str) -> str:
        """The listed digest of a file.

        Raises:
            UsageError: it is not listed.
        """
        for file in self.files:
            if file.path == path:
                return file.sha256
        raise UsageError(f"{CONTENTS}: lists no {path}")

    def packs(self) -> dict[str, str]:
        """Subjects, and the paths of their packs."""
        return {PurePosixPath(path).stem: path for path in self._in(PACKS) if path.endswith(".npz")}

    def proof(self, engine: BundledEngine) -> dict[str, Any]:
        """What a replay of this engine rests on: the same for every bundle of the same run."""
        return {
            "name": self.name,
            "recipe_digest": self.recipe_digest,
            "threat_model": dict(self.threat_model),
            "dataset": dict(self.dataset),
            "engine": engine.name,
            "engine_sha256": engine.engine_sha256,
            "graph_sha256": engine.graph_sha256,
            "reference": engine.reference,
            "bits_sha256": self.sha256_of(f"{BITS}/{engine.reference}.npz"),
            "packs": {subject: self.sha256_of(path) for subject, path in self.packs().items()},
        }

    def _in(self, folder: str) -> list[str]:
        return [file.path for file in self.files if file.path.startswith(f"{folder}/")]


def read_contents(path: Path, shown: Path | None = None) -> Contents:
    """Read `bundle.json`; `shown` is what messages call it.

    Raises:
        UsageError: the file is missing, or not what `edgeproof bundle` writes.
    """
    try:
        found = read_json(path)
        version = found["schema_version"]
        if version not in _READ:
            raise UsageError(
                f"{shown or path}: schema_version {version!r}, this edgeproof reads {' and '.join(map(str, _READ))}"
            )
        if version != 1 and not (is_whole(found) and found.pop(CHECKSUM)):
            raise UsageError(f"{shown or path}: altered since it was written (its checksum differs)")
        engines = tuple(BundledEngine(**each) for each in found.pop("engines"))
        files = tuple(BundledFile(**each) for each in found.pop("files"))
        contents = Contents(**{**found, "engines": engines, "files": files, "provenance": tuple(found["provenance"])})
        _check(contents)
    except FileNotFoundError:
        raise UsageError(f"{shown or path}: no such file; a bundle is what `edgeproof bundle` writes") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{shown or path}: not what `edgeproof bundle` writes, or altered") from None
    return contents


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths that are not plain, relative and each there once.

    Raises:
        ValueError: names the first that is not.
    """
    seen: set[str] = set()
    for path in paths:
        plain = PurePosixPath(path)
        long = len(path.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_NAME for part in plain.parts)
        odd = long or not path or "\\" in path or ":" in path or "\0" in path
        if odd or plain.is_absolute() or ".." in plain.parts or str(plain) != path or path in seen:
            raise ValueError(path)
        seen.add(path)


def _check(contents: Contents) -> None:
    """Raise ValueError where something is not of its type, or does not belong together."""
    for each in (contents, *contents.engines, *contents.files):
        check_types(each)
    check_paths(each.path for each in contents.files)
    if any(file.size < 0 for file in contents.files) or not contents.engines:
        raise ValueError("sizes below zero, or no engine")
    listed = {file.path for file in contents.files}
    for engine in contents.engines:
        named: Sequence[str] = [path for path in (engine.graph, engine.engine) if path is not None]
        if not listed.issuperset(named):
            raise ValueError("engines that are not among the files")
        if not all(text and "/" not in text for text in (engine.name, engine.target, engine.reference)):
            raise ValueError("a name that is none")
