"""Content-addressed artifact: a finished stage, under a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ...core.errors import StageError
from ...core.model_file import sha256_of
from ...core.versions import version_in_place_of
from .code_digest import code_digest

RECORD = "stage.json"
_KEY_LENGTH = 24
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


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the key under which a stage's result is stored."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


@cache
def _version(package: str) -> str:
    return version_in_place_of(package) or "not installed"
