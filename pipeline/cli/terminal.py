"""Terminal report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.reading.printable import in_one_line
from ..gates import STOPPING
from ..reports.reasons import reasons
from ..reports.rows import GATE_COLUMNS, adapters, attack_note, gate_rows, tables, verdict_words, warnings
from ..results.report import Report
from ..terminal import COLOURS


def show(report: Report, console: Console) -> None:
    """Print ledger, gates, warnings, then what stops a merge and what to do about it and, last, the verdict."""
    shown = [_table(columns, rows) for columns, rows in tables(report)]
    if report.data["gates"]:
        coloured = [(*row[:-1], Text(row[-1], style=COLOURS[row[-1]])) for row in gate_rows(report)]
        shown.append(_table(GATE_COLUMNS, coloured))
    for table in shown:
        console.print(table, "")
    console.print(in_one_line(attack_note(report)), style="dim", highlight=False)
    for line in adapters(report):
        console.print(in_one_line(line), style="dim", highlight=False, markup=False, soft_wrap=True)  # a path
    for line in warnings(report):
        console.print(f"warning: {in_one_line(line)}", style="yellow", highlight=False, markup=False)
    for reason in reasons(report):
        if reason.outcome in STOPPING:
            line = f"{reason.title}: {reason.outcome}. {reason.text}"
            console.print("")
            console.print(line, style=COLOURS[reason.outcome], highlight=False, markup=False)
    line = f"{in_one_line(report.data['name'])}: {verdict_words(report)}"
    console.print(line, style=f"bold {COLOURS[report.data['verdict']]}", highlight=False, markup=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        # Names give way first: a figure and its interval stay on one line.
        table.add_column(column, no_wrap=0 < place < len(columns) - 1)
    for row in rows:
        # As it is written: a name such as [red] is no markup.
        table.add_row(*(cell if isinstance(cell, Text) else Text(in_one_line(cell)) for cell in row))
    return table
