"""Markdown summary, `summary.md`: verdict, gates and ledger, for a step summary or a pull request."""

from __future__ import annotations

from ...core.reading.printable import in_markdown
from ..gates import STOPPING
from ..results.report import Report
from .base import formats
from .reasons import reasons
from .rows import GATE_COLUMNS, adapters, attack_note, gate_rows, tables, verdict_words, warnings


@formats.register("summary.md")
def markdown(report: Report) -> str:
    """Render the report as GitHub-flavoured Markdown."""
    parts = [f"# {in_markdown(report.data['name'])}: {verdict_words(report)}"]
    if stops := [reason for reason in reasons(report) if reason.outcome in STOPPING]:
        parts.append("\n".join(f"- **{in_markdown(r.title)}: {r.outcome}.** {in_markdown(r.text)}" for r in stops))
    if report.data["gates"]:
        parts.append(_table(GATE_COLUMNS, gate_rows(report)))
    parts += [_table(columns, rows) for columns, rows in tables(report, paired=True)]
    parts.append(in_markdown(attack_note(report)))
    if around := adapters(report):
        parts.append("\n".join(f"- {in_markdown(line)}" for line in around))
    if found := warnings(report):
        parts.append("\n".join(f"- {in_markdown(line)}" for line in found))
    return "\n\n".join(parts) + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(map(in_markdown, line))} |" for line in lines)
