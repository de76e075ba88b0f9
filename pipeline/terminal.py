"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .report import Report
from .reports.rows import (
    BENCH_COLUMNS,
    CORRUPTION_COLUMNS,
    GATE_COLUMNS,
    ROUTE_COLUMNS,
    attack_note,
    bench_rows,
    corruption_rows,
    gate_rows,
    headline,
    ledger,
    route_rows,
    warnings,
)

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print ledger, gates, warnings and, last, the verdict."""
    tables = [_table(*ledger(report)), _table(ROUTE_COLUMNS, route_rows(report))]
    if corrupted := corruption_rows(report):
        tables.append(_table(CORRUPTION_COLUMNS, corrupted))
    if timed := bench_rows(report):
        tables.append(_table(BENCH_COLUMNS, timed))
    if report.data["gates"]:
        coloured = [(*row[:-1], f"[{_COLOURS[row[-1]]}]{row[-1]}[/]") for row in gate_rows(report)]
        tables.append(_table(GATE_COLUMNS, coloured))
    for table in tables:
        console.print(table, "")
    console.print(attack_note(report), style="dim", highlight=False)
    for line in warnings(report):
        console.print(f"warning: {line}", style="yellow", highlight=False, markup=False)
    colour = _COLOURS[report.data["verdict"]]
    console.print(f"{report.data['name']}: {headline(report)}", style=f"bold {colour}", highlight=False, markup=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        # Names give way first: a figure and its interval stay on one line.
        table.add_column(column, no_wrap=0 < place < len(columns) - 1)
    for row in rows:
        table.add_row(*row)
    return table
