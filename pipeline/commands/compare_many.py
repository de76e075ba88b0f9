"""Comparison of more than two runs, and its page: every run against the first."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ...core.errors import UsageError
from ..reports.rows import p_value
from ..results.finished_run import unaltered_report
from .compare import compare


def compare_all(runs: Sequence[Path], *, figure: str = "robust", subject: str | None = None) -> dict[str, Any]:
    """Compare every run with the first.

    Args:
        runs: two or more folders of runs, their report.json, or `verification/<subject>.npz`.
        figure: `robust`, after all routes, or `clean`.
        subject: which one of a run to take; left out, its only engine.

    Returns:
        `{figure, first, comparisons}`: the first run's path, and of every other what `compare` returns.

    Raises:
        UsageError: as of `compare`.
    """
    found = [compare(runs[0], other, figure=figure, subject=subject) for other in runs[1:]]
    return {"figure": figure, "first": str(runs[0]), "comparisons": found}


def show_all(result: dict[str, Any], console: Console) -> None:
    """Print the comparisons of `compare_all` as a table."""
    first, letters = result["comparisons"][0]["first"], string.ascii_uppercase
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("run", result["figure"], "samples", "lost", "gained", "difference [95 %]", "p"):
        table.add_column(column, no_wrap=True)
    table.add_row("A", f"{first['accuracy']:.3f}", str(first["samples"]))
    for letter, found in zip(letters[1:], result["comparisons"], strict=False):
        low, high = found["ci"]
        table.add_row(
            letter,
            f"{found['second']['accuracy']:.3f}",
            str(found["samples"]),
            str(len(found["lost"])),
            str(len(found["gained"])),
            f"{found['difference']:+.3f} [{low:+.3f}, {high:+.3f}]",
            p_value(found["p"]),
        )
    console.print(table)
    paths = [first["path"], *(found["second"]["path"] for found in result["comparisons"])]
    lines = [f"{letter}  {path}" for letter, path in zip(letters, paths, strict=False)]
    lines += [
        f"note: {letter}: {note}"
        for letter, found in zip(letters[1:], result["comparisons"], strict=False)
        for note in found["notes"]
    ]
    lines.append(
        "Each with A, on the samples in common; intervals are Tango's, p of the exact McNemar test, "
        "neither corrected for several comparisons."
    )
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def page_of(runs: Sequence[Path], *, figure: str = "robust", subject: str | None = None) -> str:
    """Return the page that shows runs side by side.

    Args:
        runs: folders of runs, or their report.json.
        figure: what is compared sample by sample.
        subject: which engine of each; left out, its only one.

    Raises:
        UsageError: one of them is no run.
    """
    from ..reports.html.comparison import comparison_page  # jinja2 and matplotlib

    reports = [unaltered_report(path) for path in runs]
    compared: list[dict[str, Any] | str] = []
    for path in runs[1:]:
        try:
            compared.append(compare(runs[0], path, figure=figure, subject=subject))
        except UsageError as error:  # what does not compare sample by sample still stands side by side
            compared.append(str(error))
    return comparison_page([str(path) for path in runs], reports, compared, figure)
