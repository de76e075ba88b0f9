"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .report import Report
from .reports.rows import (
    BENCH_COLUMNS,
    GATE_COLUMNS,
    ROUTE_COLUMNS,
    attack_note,
    bench_rows,
    gate_rows,
    headline,
    ledger,
    route_rows,
    warnings,
)

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print ledger, gates, warnings and, last, the verdict."""
    console.print(_table(*ledger(report)))
    console.print(_table(ROUTE_COLUMNS, route_rows(report)))
    if timed := bench_rows(report):
        console.print(_table(BENCH_COLUMNS, timed))
    if report.data["gates"]:
        coloured = [(*row[:-1], f"[{_COLOURS[row[-1]]}]{row[-1]}[/]") for row in gate_rows(report)]
        console.print(_table(GATE_COLUMNS, coloured))
    console.print(attack_note(report), style="dim", highlight=False)
    for line in warnings(report):
        console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    colour = _COLOURS[report.data["verdict"]]
    console.print(
        f"{report.data['name']}: {headline(report)}",
        style=f"bold {colour}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table narrow enough for 80 columns."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table
