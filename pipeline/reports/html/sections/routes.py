"""Robust accuracy by route: what every attack leaves of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....stages.statistics.proportions import clopper_pearson
from ..blocks import Plot, Section, Table, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView


def routes_section(run: RunView) -> Section | None:
    """One row a route, in the order in which they attacked."""
    plain = not run.stopped
    rows: list[Row] = []
    cells: list[tuple[str, ...]] = []
    data: list[tuple[str | int | float | None, ...]] = []
    attacked = [subject for subject in run.subjects if by_route(subject)]
    if not attacked:
        return None
    for subject in attacked:
        series, count, last = run.series(subject["name"]), subject["samples"], subject["clean_accuracy"]
        rows.append(Row(run.label(subject)))
        for route, value in by_route(subject).items():
            # After a stop that depends on the figures themselves, no interval of a fixed sample holds.
            ci = clopper_pearson(round(value * count), count) if plain else None
            broken = round((last - value) * count)
            rows.append(Row(route, [Point(value, ci, series)], f"−{broken}" if broken else ""))
            cells.append((run.label(subject), route, number(value), interval(ci), str(broken), str(count)))
            data.append((subject["name"], route, value, *(ci or (None, None)), broken, count))
            last = value
        if (value := subject.get("robust_accuracy_8bit")) is not None:
            ci = subject.get("robust_accuracy_8bit_ci")
            rows.append(Row("8-bit images", [Point(value, ci, series, True)]))
            cells.append((run.label(subject), "against 8-bit images", number(value), interval(ci), "", str(count)))
            data.append((subject["name"], "8-bit", value, *(ci or (None, None)), None, count))
    table = Table(
        "routes",
        "Robust accuracy left after each route, in order",
        ("subject", "route", "left", "95 % interval", "broken", "samples"),
        cells,
        (("subject", "route", "left", "low", "high", "broken", "samples"), data),
        folded=True,
    )
    title = "Robust accuracy left after each route, in order"
    drawn = intervals("routes-plot", title, rows, "robust accuracy left", {})
    return Section(
        name="routes",
        title="By route",
        plots=[
            Plot(
                "routes-plot",
                "What is left after each attack; each meets only what the ones before left standing, so the last row "
                "of a subject is its robust accuracy. At the right: samples that the route broke.",
                drawn,
                table,
            )
        ],
        notes=[
            f"Attacks: {run.attacks}, {run.threat}. Bars: {run.interval_name}."
            + (
                " Hollow: left when every image is delivered in 8 bits, as a camera does; a narrower threat model."
                if any(subject.get("robust_accuracy_8bit") is not None for subject in run.subjects)
                else ""
            ),
        ],
    )


def by_route(subject: Mapping[str, Any]) -> Mapping[str, float]:
    """Robust accuracy after each route, in order."""
    return subject.get("routes") or subject.get("attacks") or {}
