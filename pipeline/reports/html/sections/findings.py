"""What speaks against the figures, and what the verifier asked itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from .....stages.verify.checks.base import rows_of_counts
from ..blocks import Section, Table
from ..run import RunView


def findings_section(run: RunView) -> Section | None:
    """Warnings as sentences, and the counts behind them and behind doubts, which stand at the page's head.

    None where there is neither.
    """
    doubts, missing = (set(run.report.data.get(key, ())) for key in ("doubts", "missing"))
    rows = [
        (subject["name"], line)
        for subject in run.subjects
        for line in subject.get("warnings", ())
        if f"{subject['name']}: {line}" not in doubts
    ]
    tables = [Table("findings", "Warnings", ("subject", "finding"), rows, stacked=True)] if rows else []
    checks = _checks(run)
    if checks:
        tables.append(
            Table(
                "checks",
                "What the verifier held against its own result",
                ("subject", "check", "of", "outcome", "count"),
                checks,
                folded=bool(rows) or len(checks) > 8,
            )
        )
    if not tables and not doubts and not missing:
        return None
    lead = [] if rows else ["Nothing speaks against these figures."]
    if doubts or missing:
        lead = ["What makes the run inconclusive stands at the top."]
    return Section(name="findings", title="Findings", lead=lead, tables=tables)


def _checks(run: RunView) -> list[tuple[str, ...]]:
    try:
        figures = _FIGURES.validate_python(run.files.json("verification/figures.json"))
    except ValidationError:
        return []
    return [
        (subject["name"], asked, "" if of is None else str(of), outcome, str(count))
        for subject in run.subjects
        for asked, of, outcome, count in _rows(figures.get(subject["name"], _Figures()))
        if of != 0
    ]


class _Check(BaseModel):
    rows: list[tuple[str, int | None, str, int]]


class _Figures(BaseModel):
    """What a subject's figures say of the checks; of another run's file nothing is shown."""

    checks: dict[str, _Check] = {}
    counts: dict[str, int] = {}


_FIGURES = TypeAdapter(dict[str, _Figures])


def _rows(figures: _Figures) -> Iterator[Sequence[Any]]:
    """What was asked, of how many, what came out, how often; see `stages.verify.checks.base.rows_of`."""
    for check in figures.checks.values():
        yield from check.rows
    if figures.counts:  # as edgeproof 0.1 wrote them
        yield from rows_of_counts(figures.counts)
