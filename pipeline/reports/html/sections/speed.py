"""Latency, size and robustness of all subjects in one picture each, and the engines' latencies in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...rows import BENCH_COLUMNS, bench_rows
from ..blocks import Plot, Section, Table, bound, interval, number
from ..draw import plane
from ..run import RunView


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
    plots = [
        _plot(run, "latency", "median latency, ms (batch 1)", [each["latency_ms"]["p50"] for each in timed], timed),
        _plot(run, "size", "size of the file, KiB", [each["size_bytes"] / 1024 for each in timed], timed),
    ]
    return Section(
        name="speed",
        title="Speed, size, robustness",
        plots=plots,
        tables=tables,
        notes=[
            "Left and up is better; the gray line joins those that nothing beats in both. Networks are timed as torch "
            "runs them, engines on their runtime, all in turn in one run on one machine: "
            f"{_machine(run)}."
        ],
    )


def _plot(run: RunView, name: str, xlabel: str, x: Sequence[float], subjects: Sequence[Mapping[str, Any]]) -> Plot:
    points = [
        (run.label(each), value, run.point(each, "robust_accuracy")) for each, value in zip(subjects, x, strict=True)
    ]
    best = front([(value, point.value) for _, value, point in points])
    title = f"Robust accuracy over {name}"
    table = Table(
        f"pareto-{name}",
        title,
        ("subject", xlabel, "robust", "95 % interval", "nothing beats it"),
        [
            (label, f"{x:.4g}", number(point.value), interval(point.ci), "yes" if (x, point.value) in best else "")
            for label, x, point in points
        ],
        (
            ("subject", xlabel, "robust", "low", "high"),
            [(label, value, point.value, bound(point.ci, 0), bound(point.ci, 1)) for label, value, point in points],
        ),
        folded=True,
    )
    drawn = plane(f"pareto-{name}-plot", title, points, xlabel, "robust accuracy", front=best)
    return Plot(f"pareto-{name}-plot", f"{title}; bars are the {run.interval_name}.", drawn, table)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points `(x, y)` that no other beats with a smaller x and a larger y, from the smallest x on."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def _machine(run: RunView) -> str:
    machine = run.report.data["environment"].get("machine", {})
    return f"{machine.get('processor') or machine.get('architecture', 'unknown')}, {machine.get('cores', '?')} cores"
