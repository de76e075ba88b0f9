"""Report delivery besides the terminal: files that were asked for, and what a CI system picks up by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError
from ...core.reading.published_paths import published_path
from ...core.registry import nearest
from ..results.report import Report
from ..store.manifest import MANIFEST
from . import formats
from .github import workflow_commands

AnnotationStyle = Literal["auto", "github", "none"]


@dataclass(frozen=True)
class Outputs:
    """Where one report goes.

    Attributes:
        files: files to write, by the format's name.
        annotate: whether GitHub's workflow commands are printed.
        summary: the file that GitHub shows as the step's summary; Markdown is appended to it.
        location: the file of the repository that annotations and SARIF point at, None where there is none.
    """

    files: Sequence[tuple[str, Path]] = ()
    annotate: bool = False
    summary: Path | None = None
    location: str | None = None

    @classmethod
    def asked(
        cls,
        wanted: Sequence[str],
        style: str = "auto",
        location: Path | None = None,
        *,
        as_json: bool = False,
    ) -> Outputs:
        """Understand the options, before any work begins that would be lost.

        Args:
            wanted: a file, whose name says the format, or a folder, into which every format is written.
            style: `github`, `none`, or `auto`: GitHub's where $GITHUB_ACTIONS is `true` and stdout is for people.
            location: the file of the repository that findings point at.
            as_json: whether stdout is one JSON document.

        Raises:
            UsageError: a name that says no format, a folder that belongs to a run, or annotations beside --json.
        """
        if style not in get_args(AnnotationStyle):
            raise UsageError(f"--annotations {style}: must be one of {', '.join(get_args(AnnotationStyle))}")
        if style == "github" and as_json:
            raise UsageError("--annotations github: they are printed on stdout, where --json leaves nothing else")
        on_github = os.environ.get("GITHUB_ACTIONS") == "true" and not as_json and style == "auto"
        summary = os.environ.get("GITHUB_STEP_SUMMARY") if on_github else None
        return cls(
            [pair for each in wanted for pair in _files(each)],
            annotate=on_github or style == "github",
            summary=Path(summary) if summary else None,
            location=None if location is None else _in_repository(location),
        )

    def deliver(self, report: Report) -> None:
        """Write and print the report; its verdict is what it was, whatever happens here.

        Raises:
            UsageError: a file cannot be written; the others are.
        """
        baseline = report.data.get("baseline", {}).get("path")
        if place := self.location or (_in_repository(Path(baseline)) if baseline else None):
            report = replace(report, data={**report.data, "location": place})
        if baseline:
            about = {**report.data["baseline"], "path": published_path(baseline)}
            report = replace(report, data={**report.data, "baseline": about})
        if self.annotate:
            print("\n".join(workflow_commands(report)))
        if self.summary is not None:
            self._summarize(report, self.summary)
        failed: list[str] = []
        for name, path in self.files:
            try:
                write_atomically(path, formats[name](report))
            except OSError as error:
                failed.append(f"--output {path}: not written ({error.strerror})")
        if failed:
            raise UsageError("; ".join(failed))

    def _summarize(self, report: Report, path: Path) -> None:
        """Append to the step's summary; nobody asked for it, so that it cannot be written is no error."""
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(formats["summary.md"](report))
        except OSError as error:
            print(f"edgeproof: $GITHUB_STEP_SUMMARY {path}: not written ({error.strerror})", file=sys.stderr)


def _files(wanted: str) -> list[tuple[str, Path]]:
    path = Path(wanted)
    if path.is_dir() or not path.suffix:
        found = [(name, path / name) for name in formats.names()]
    else:
        found = [(_format(path), path)]
    folder = found[0][1].parent
    if (folder / MANIFEST).is_file() and any(file.name in formats.names() for _, file in found):
        raise UsageError(f"--output {wanted}: {folder} is a run's own folder; write its reports elsewhere")
    return found


def _format(path: Path) -> str:
    names = formats.names()
    if path.name in names:
        return path.name
    fitting = [name for name in names if Path(name).suffix == path.suffix.lower()]
    if len(fitting) != 1:
        guess = "" if fitting else nearest(path.name, names)
        raise UsageError(
            f"--output {path}: its name says no report format{guess} (a folder, or a name like {', '.join(names)})"
        )
    return fitting[0]


def _in_repository(path: Path) -> str:
    """Return a file's path from the repository's root, which is where GitHub looks for it."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    full = path.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else published_path(path)
