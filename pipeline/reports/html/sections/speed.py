"""Latency, size and robustness of all subjects in one picture each, and the engines' latencies in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...rows import BENCH_COLUMNS, bench_rows
from ..blocks import Plot, Section, Table, bound, interval, number
from ..draw import plane
from ..run import RunView

_X: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
    "latency": ("median latency, ms", lambda subject: subject["latency_ms"]["p50"]),
    "size": ("size of the file, KiB", lambda subject: subject["size_bytes"] / 1024),
}


def speed_section(run: RunView) -> Section | None:
    """Fronts of latency and of size against robust accuracy; None where nothing was timed and nothing has a size."""
    sized = [each for each in run.subjects if each.get("size_bytes")]
    timed = [each for each in sized if "latency_ms" in each]
    tables = (
        [Table("latency", "Latency of every engine beside the float engine and torch", BENCH_COLUMNS, rows)]
        if (rows := bench_rows(run.report))
        else []
    )
    if len(timed) < 2:
        return Section(name="speed", title="Speed and size", tables=tables) if tables else None
    plots = [speed_plot(run, "pareto", over, timed) for over in _X]
    return Section(
        name="speed",
        title="Speed, size, robustness",
        plots=plots,
        tables=tables,
        notes=[
            "Left and up is better; the gray line joins those that nothing beats in both. Networks are timed as torch "
            "runs them, engines on their runtime, all in turn in one run on one machine: "
            f"{run.machine}."
        ],
    )


def speed_plot(run: RunView, name: str, over: str, subjects: Sequence[Mapping[str, Any]], of: str = "") -> Plot:
    """Robust accuracy over `latency` or `size` of subjects that have both; `name` begins the names of its files.

    `of` says in the title of which, where the page has another such drawing.
    """
    xlabel, value = _X[over]
    points = [(run.label(each), value(each), run.point(each, "robust_accuracy")) for each in subjects]
    best = front([(value, point.value) for _, value, point in points])
    title = f"Robust accuracy over {over}{of}"
    table = Table(
        f"{name}-{over}",
        title,
        ("subject", xlabel, "robust", "95 % interval", "on the gray line"),
        [
            (
                label,
                number(x, 3 if over == "latency" else 1),
                number(point.value),
                interval(point.ci),
                "yes" if (x, point.value) in best else "",
            )
            for label, x, point in points
        ],
        (
            ("subject", xlabel, "robust", "low", "high"),
            [(label, value, point.value, bound(point.ci, 0), bound(point.ci, 1)) for label, value, point in points],
        ),
        folded=True,
    )
    drawn = plane(f"{name}-{over}-plot", title, points, xlabel, "robust accuracy", front=best, legend=True)
    return Plot(f"{name}-{over}-plot", f"{title}; bars are the {run.interval_name}.", drawn, table)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points `(x, y)` that no other beats with a smaller x and a larger y, from the smallest x on."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best
