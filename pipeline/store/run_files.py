"""Run files by their paths in the run's folder, before they are published there and after."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.reading.arrays import read_npz
from ...core.reading.bounded import read_bounded
from ...core.reading.json_text import MOST, parse_json
from .artifact import Artifact
from .manifest import MANIFEST, listed, manifest_entries

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class RunFiles:
    """What lies in a run's folder, or is about to; a file that is missing or broken is as one that was never there.

    Attributes:
        folder: the run's folder; None where it is not published yet.
        view: path in the folder to (artifact, file name), where it is not.
        texts: path in the folder to text that is not written yet.
    """

    folder: Path | None = None
    view: Mapping[str, tuple[Artifact, str]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def artifacts(self) -> Sequence[Mapping[str, Any]]:
        """The artifacts as `manifest.json` lists them: `path`, `sha256`, `stage`, `key`, `parents`, `seed`, …"""
        if self.folder is None:
            return manifest_entries(self.view)
        return [entry for entry in listed(self.json(MANIFEST)) or () if "stage" in entry]

    def named(self, name: str) -> list[str]:
        """Paths of the artifacts' files of that name, in the manifest's order."""
        return [entry["path"] for entry in self.artifacts if Path(entry["path"]).name == name]

    def text(self, path: str) -> str | None:
        """A file's text; None where there is none."""
        if path in self.texts:
            return self.texts[path]
        try:
            return read_bounded(self._at(path), MOST).decode()
        except (OSError, KeyError, ValueError):
            return None

    def json(self, path: str) -> Any:
        """What a JSON file holds; None where there is none."""
        try:
            return parse_json(self.text(path) or "")
        except ValueError:
            return None

    def table(self, path: str) -> list[dict[str, str]]:
        """The rows of a CSV file with a header; empty where there is none."""
        return list(csv.DictReader(io.StringIO(self.text(path) or "")))

    def arrays(self, path: str) -> dict[str, np.ndarray] | None:
        """The arrays of an `.npz`; None where there is none."""
        try:
            return read_npz(self._at(path))
        except (OSError, ValueError, KeyError):
            return None

    def _at(self, path: str) -> Path:
        if self.folder is not None:
            return self.folder / path
        artifact, name = self.view[path]
        return artifact.path(name)
