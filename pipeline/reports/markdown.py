"""`summary.md`: the verdict, the gates and the ledger, for a step summary or a pull request."""

from __future__ import annotations

from ..report import Report
from .base import formats
from .rows import (
    BENCH_COLUMNS,
    CORRUPTION_COLUMNS,
    GATE_COLUMNS,
    PAIRED_COLUMNS,
    ROUTE_COLUMNS,
    attack_note,
    bench_rows,
    corruption_rows,
    gate_rows,
    headline,
    ledger,
    paired_rows,
    route_rows,
    warnings,
)


@formats.register("summary.md")
def markdown(report: Report) -> str:
    """Render the report as GitHub-flavoured Markdown."""
    parts = [f"# {report.data['name']}: {headline(report)}"]
    if report.data["gates"]:
        parts.append(_table(GATE_COLUMNS, gate_rows(report)))
    parts.append(_table(*ledger(report)))
    parts.append(_table(ROUTE_COLUMNS, route_rows(report)))
    if compared := paired_rows(report):
        parts.append(_table(PAIRED_COLUMNS, compared))
    if corrupted := corruption_rows(report):
        parts.append(_table(CORRUPTION_COLUMNS, corrupted))
    if timed := bench_rows(report):
        parts.append(_table(BENCH_COLUMNS, timed))
    parts.append(attack_note(report))
    if found := warnings(report):
        parts.append("\n".join(f"- {line}" for line in found))
    return "\n\n".join(parts) + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
