"""Robust accuracy by route: what every attack leaves of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .....stages.statistics.proportions import clopper_pearson
from ....figures.reading import routes_left
from ..blocks import Cell, Plot, Section, Table, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView

_EIGHT_BIT = "8-bit images"
_LEFT = "Robust accuracy left after each route, in order"


def routes_section(run: RunView) -> Section | None:
    """One line a subject, with its routes in the order in which they attacked."""
    attacked = [subject for subject in run.subjects if routes_left(subject)]
    if not attacked:
        return None
    # Networks meet other routes than engines.
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for subject in attacked:
        alike.setdefault(tuple(routes_left(subject)), []).append(subject)
    return Section(
        name="routes",
        title="By route",
        tables=[
            Table(
                "routes",
                f"{_LEFT}; in brackets the samples that a route broke",
                ("subject", "robust accuracy left"),
                [(run.label(subject), _steps(subject)) for subject in attacked],
                _table(run, attacked, "routes", _LEFT).data,
                stacked=True,
            )
        ],
        plots=[_plot(run, subjects, f"routes-{place}") for place, subjects in enumerate(alike.values(), 1)],
        notes=[
            "Each route meets only what the ones before left standing, so the last is the robust accuracy. "
            f"Attacks: {run.attacks}, {run.threat}."
            + (
                " Hollow: left when every image is delivered in 8 bits, as a camera does; a narrower threat model."
                if any(subject.get("robust_accuracy_8bit") is not None for subject in run.subjects)
                else ""
            ),
        ],
    )


def _steps(subject: Mapping[str, Any]) -> str:
    """`clean 0.950 → replay 0.583 (−22) → whitebox 0.583`."""
    shown, last = [f"clean {number(subject['clean_accuracy'])}"], subject["clean_accuracy"]
    for route, value in routes_left(subject).items():
        broken = round((last - value) * subject["samples"])
        shown.append(f"{route} {number(value)}" + (f" (−{broken})" if broken else ""))
        last = value
    eight_bit = subject.get("robust_accuracy_8bit")
    return " → ".join(shown) + ("" if eight_bit is None else f"; {_EIGHT_BIT} {number(eight_bit)}")


def _plot(run: RunView, subjects: Sequence[Mapping[str, Any]], name: str) -> Plot:
    """Subjects that met the same routes: a row a route, a line a subject."""
    last = list(routes_left(subjects[0]))[-1]
    rows = [Row("clean", [Point(each["clean_accuracy"], None, run.series(each["name"])) for each in subjects])]
    for route in routes_left(subjects[0]):
        points = [
            # Each line ends at the robust accuracy, whose interval is the run's own.
            Point(
                routes_left(each)[route],
                each.get("robust_accuracy_ci") if route == last else None,
                run.series(each["name"]),
            )
            for each in subjects
        ]
        rows.append(Row(route, points))
    if eight := [each for each in subjects if each.get("robust_accuracy_8bit") is not None]:
        rows.append(Row(_EIGHT_BIT, [run.point(each, "robust_accuracy_8bit", hollow=True) for each in eight]))
    legend = {run.label(each): Point(0, None, run.series(each["name"])) for each in subjects}
    who = ", ".join(run.label(each) for each in subjects)
    title = f"{_LEFT}: {who}"
    drawn = intervals(f"{name}-plot", title, rows, "robust accuracy left", legend, joined=True)
    return Plot(
        f"{name}-plot",
        f"{who}; the bar is the {run.interval_name} of what is left.",
        drawn,
        _table(run, subjects, name, title),
    )


def _table(run: RunView, subjects: Sequence[Mapping[str, Any]], name: str, title: str) -> Table:
    cells: list[tuple[str, ...]] = []
    data: list[tuple[Cell, ...]] = []
    for subject in subjects:
        count, last = subject["samples"], subject["clean_accuracy"]
        for route, value in routes_left(subject).items():
            # After a stop that depends on the figures themselves, no interval of a fixed sample holds.
            ci = None if run.stopped else clopper_pearson(round(value * count), count)
            broken = round((last - value) * count)
            cells.append((run.label(subject), route, number(value), interval(ci), str(broken), str(count)))
            data.append((subject["name"], route, value, *(ci or (None, None)), broken, count))
            last = value
        if (value := subject.get("robust_accuracy_8bit")) is not None:
            ci = subject.get("robust_accuracy_8bit_ci")
            cells.append((run.label(subject), _EIGHT_BIT, number(value), interval(ci), "", str(count)))
            data.append((subject["name"], "8-bit", value, *(ci or (None, None)), None, count))
    return Table(
        name,
        title,
        ("subject", "route", "left", "95 % interval", "broken", "samples"),
        cells,
        (("subject", "route", "left", "low", "high", "broken", "samples"), data),
        folded=True,
    )
