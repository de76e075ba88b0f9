"""The report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .report import Report
from .reports.rows import (
    GATE_COLUMNS,
    ROUTE_COLUMNS,
    attack_note,
    gate_rows,
    headline,
    ledger,
    route_rows,
    warnings,
)

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print ledger, gates, warnings and, last, the verdict."""
    columns, rows = ledger(report)
    subjects = Table(*columns, title=report.data["name"], title_justify="left")
    for row in rows:
        subjects.add_row(*row)
    console.print(subjects)
    by_route = Table(*ROUTE_COLUMNS)
    for row in route_rows(report):
        by_route.add_row(*row)
    console.print(by_route)
    if report.data["gates"]:
        gates = Table(*GATE_COLUMNS)
        for row in gate_rows(report):
            gates.add_row(*row[:-1], f"[{_COLOURS[row[-1]]}]{row[-1]}[/]")
        console.print(gates)
    console.print(attack_note(report), style="dim", highlight=False)
    for line in warnings(report):
        console.print(f"warning: {line}", style="yellow", highlight=False, markup=False)
    colour = _COLOURS[report.data["verdict"]]
    console.print(headline(report), style=f"bold {colour}", highlight=False, markup=False)
