"""Evidence making (`edgeproof evidence`): a finished run's verdict, for auditors and policy engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError
from ..results.finished_run import finished_report
from ..results.report import Report
from ..store.folder_guard import About, check_alike
from ..store.manifest import MANIFEST, listed
from ..store.place import record_in
from .document import EVIDENCE, evidence, text_of, to_fill
from .in_toto import TEST_RESULT, statement
from .text import TEXT, evidence_text

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 200
# The stage that puts the results of all attacks together.
_AGGREGATE = "settle"


def make_evidence(
    run: Path | str, *, author: str | None = None, out: Path | str | None = None, force: bool = False
) -> dict[str, Any]:
    """Write what auditors and policy engines read of a finished run.

    Args:
        run: a finished run's folder.
        author: who answers for the evidence; nobody is named without it.
        out: a folder for the files (default: `<name>-evidence`).
        force: replace the evidence of another model or data set there.

    Returns:
        `{folder, files, to_fill}`: what is left for the provider to fill.

    Raises:
        UsageError: the run is not finished or was altered, the author is no line, or `out` cannot be written, or
            holds the evidence of another model or data set.
    """
    report = finished_report(run)
    folder = Path(out) if out is not None else Path(f"{report.data['name']}-evidence")
    if (folder / MANIFEST).is_file():
        raise UsageError(f"--out {folder}: is a run's own folder; name another one")
    found = evidence_of(Path(run), report, author)
    check_alike(folder, None if force else _about(record_in(folder / EVIDENCE)), _about(found))
    texts = evidence_files(Path(run), report, author)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text)
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror})") from None
    return {"folder": str(folder), "files": sorted(texts), "to_fill": to_fill(found)}


def evidence_files(run: Path, report: Report, author: str | None = None) -> dict[str, str]:
    """The files' names and texts; the same for the same run and author.

    Args:
        run: the run's folder, whose files are known to be unaltered.
        report: its report.
        author: as of `make_evidence`.
    """
    found = evidence_of(run, report, author)
    result = statement(report, {entry["path"]: entry["sha256"] for entry in _entries(run)})
    return {
        EVIDENCE: text_of(found),
        TEXT: evidence_text(found),
        **({} if result is None else {TEST_RESULT: result}),
    }


def evidence_of(run: Path, report: Report, author: str | None) -> dict[str, Any]:
    """The content of `evidence.json`; arguments as of `evidence_files`."""
    if author is not None and (not author.strip() or not author.isprintable() or len(author) > _LONGEST):
        raise UsageError(f"--author {author[:20]!r}: must be a name in one line, of at most {_LONGEST} characters")
    times = [entry.get("started") for entry in _entries(run) if entry.get("stage") == _AGGREGATE]
    when = next((time for time in times if isinstance(time, str)), None)
    return evidence(report, author=author, when=when)


def show_evidence(result: Mapping[str, Any], console: Console) -> None:
    """Print where the evidence went, for people."""
    lines = [f"{result['folder']}: {', '.join(result['files'])}"]
    if result["to_fill"]:
        lines.append(f"to be filled by the provider: {'; '.join(result['to_fill'])}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _about(found: Mapping[str, Any]) -> About:
    """What evidence is about; the file may be anybody's."""
    engines, conditions = found.get("engines"), found.get("conditions")
    dataset = conditions.get("data_set") if isinstance(conditions, Mapping) else None
    return About.of(engines if isinstance(engines, list) else (), dataset)


def _entries(run: Path) -> list[dict[str, Any]]:
    return listed(record_in(run / MANIFEST)) or []
