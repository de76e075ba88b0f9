"""Markdown summary, `summary.md`: verdict, gates and ledger, for a step summary or a pull request."""

from __future__ import annotations

import re

from ..results.report import Report
from .base import formats
from .printable import in_one_line
from .reasons import reasons
from .rows import GATE_COLUMNS, adapters, attack_note, gate_rows, tables, warnings


@formats.register("summary.md")
def markdown(report: Report) -> str:
    """Render the report as GitHub-flavoured Markdown."""
    parts = [f"# {_text(report.data['name'])}: {report.data['verdict'].upper()}"]
    if stops := [reason for reason in reasons(report) if reason.outcome != "pass"]:
        parts.append("\n".join(f"- **{_text(r.title)}: {r.outcome}.** {_text(r.text)}" for r in stops))
    if report.data["gates"]:
        parts.append(_table(GATE_COLUMNS, gate_rows(report)))
    parts += [_table(columns, rows) for columns, rows in tables(report, paired=True)]
    parts.append(_text(attack_note(report)))
    if around := adapters(report):
        parts.append("\n".join(f"- {_text(line)}" for line in around))
    if found := warnings(report):
        parts.append("\n".join(f"- {_text(line)}" for line in found))
    return "\n\n".join(parts) + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(map(_text, line))} |" for line in lines)


def _text(text: str) -> str:
    """A text that stays one: what would end a cell, open a tag, a link or an emphasis is escaped; `code` is left."""
    return re.sub(r"\](?=[(\[])", r"]\\", re.sub(r"([\\|<*~])", r"\\\1", in_one_line(text)))
