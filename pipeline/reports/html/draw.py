"""Plots of the page: intervals in rows, lines, points in a plane, bars in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from .svg import INK, MARKERS, MUTED, PAPER, SERIES, drawing, finished

_ROW = 0.215  # inches
# Values that lie further apart than this stand on a logarithmic axis.
_APART = 4


@dataclass(frozen=True)
class Point:
    """A figure and its interval; `series` gives colour and marker, `hollow` is a second figure of the same."""

    value: float
    ci: Sequence[float] | None
    series: int
    hollow: bool = False


@dataclass(frozen=True)
class Row:
    """A row of intervals: its label, its points, and a remark at the right; a row without points is a heading."""

    label: str
    points: Sequence[Point] = ()
    remark: str = ""


@dataclass(frozen=True)
class Line:
    """Points that belong together: x, y, and intervals of y where there are any."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    series: int
    ci: Sequence[Sequence[float]] | None = None
    dashed: bool = False


def colour(series: int) -> str:
    """The colour of a series."""
    return SERIES[series % len(SERIES)]


def marker(series: int) -> str:
    """The marker of a series: nobody has to tell colours apart."""
    return MARKERS[series % len(MARKERS)]


def intervals(
    name: str,
    title: str,
    rows: Sequence[Row],
    xlabel: str,
    legend: Mapping[str, Point],
    limit: float | None = None,
    *,
    joined: bool = False,
) -> str:
    """Draw rows of points with their intervals.

    Args:
        name: of the drawing.
        title: for screen readers.
        rows: from the top.
        xlabel: what is measured.
        legend: labels and the points that they explain.
        limit: a vertical line, if there is one.
        joined: whether a line goes through the points of a series, from row to row.
    """
    crowd = max((len(row.points) for row in rows), default=0)  # beyond two a row needs more room
    height = _ROW * max(1.0, 0.5 * crowd) * len(rows) + 0.62 + (0.2 * -(-len(legend) // 3) if legend else 0)
    with drawing(height) as figure:
        axes = figure.subplots()
        trails: dict[int, list[tuple[float, float]]] = {}
        for place, row in enumerate(rows):
            for each, point in enumerate(row.points):
                spread = (
                    0.0
                    if len(row.points) == 1
                    else (each / (len(row.points) - 1) - 0.5) * (0.42 if crowd < 3 else 0.56)
                )
                _interval(axes, point, place + spread)
                if joined and not point.hollow:
                    trails.setdefault(point.series, []).append((point.value, place + spread))
            if row.remark:
                axes.annotate(
                    row.remark,
                    (1.01, place),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    color=MUTED,
                    fontsize=9,
                    annotation_clip=False,
                )
        for series, trail in trails.items():
            axes.plot(*zip(*trail, strict=True), color=colour(series), linewidth=1, zorder=1)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        for row, label in zip(rows, axes.get_yticklabels(), strict=True):
            if not row.points:
                label.set_fontweight("bold")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if limit is not None:
            axes.axvline(limit, color=MUTED, linestyle="--", linewidth=1)
        axes.set_xlabel(xlabel)
        _legend(axes, legend)
        return finished(figure, name, title)


def lines(
    name: str,
    title: str,
    found: Sequence[Line],
    xlabel: str,
    ylabel: str,
    *,
    mark: tuple[float, str] | None = None,
    height: float = 3.1,
) -> str:
    """Draw lines of shares over x; `mark` is a vertical line and its name."""
    with drawing(height) as figure:
        axes = figure.subplots()
        spread = (max(max(line.x) for line in found) - min(min(line.x) for line in found)) * 0.007
        for place, line in enumerate(found):
            # Side by side, so that intervals do not hide each other.
            x = [value + (place - (len(found) - 1) / 2) * (spread if line.ci else 0) for value in line.x]
            style: dict[str, Any] = {"color": colour(line.series), "linestyle": "--" if line.dashed else "-"}
            style["label"] = line.label
            if line.ci is None:
                axes.plot(x, line.y, **style)
                continue
            below = [max(y - low, 0) for y, (low, _) in zip(line.y, line.ci, strict=True)]
            above = [max(high - y, 0) for y, (_, high) in zip(line.y, line.ci, strict=True)]
            axes.errorbar(x, line.y, [below, above], marker=marker(line.series), elinewidth=1, capsize=0, **style)
        if mark is not None:
            axes.axvline(mark[0], color=MUTED, linestyle=":", linewidth=1.2)
            axes.annotate(
                mark[1],
                (mark[0], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=MUTED,
                fontsize=9,
            )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, columnspacing=1.2)
        return finished(figure, name, title)


def plane(
    name: str,
    title: str,
    points: Sequence[tuple[str, float, Point]],
    xlabel: str,
    ylabel: str,
    *,
    front: Sequence[tuple[float, float]] = (),
    limit: float | None = None,
    legend: bool = False,
) -> str:
    """Draw labelled points `(label, x, point)`, and the front of those that nothing beats.

    Labels stand beside the points, or with `legend`, where each is a series of its own, above the drawing.
    """
    with drawing(3.1) as figure:
        axes = figure.subplots()
        if len(front) > 1:
            axes.step([x for x, _ in front], [y for _, y in front], where="post", color=MUTED, linewidth=0.8, zorder=1)
        ordered = sorted(points, key=lambda each: each[1])
        for place, (label, x, point) in enumerate(ordered):
            _upright(axes, point, x)
            if legend:
                continue
            last, up = place == len(ordered) - 1, place % 2 == 0  # neighbours keep out of each other's way
            axes.annotate(
                label,
                (x, point.value),
                xytext=(-6 if last else 6, 5 if up else -5),
                textcoords="offset points",
                ha="right" if last else "left",
                va="bottom" if up else "top",
                fontsize=9,
                color=INK,
            )
        if limit is not None:
            axes.axhline(limit, color=MUTED, linestyle="--", linewidth=1)
        axes.margins(x=0.18, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        values = [x for _, x, _ in points]
        if max(values) > _APART * min(values):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            minor = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
            low, high = axes.get_xlim()
            axes.xaxis.set_minor_formatter(minor if high / low < 12 else NullFormatter())
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        _legend(axes, {label: point for label, _, point in points} if legend else {})
        return finished(figure, name, title)


def bars(name: str, title: str, rows: Sequence[tuple[str, float, int]], xlabel: str, legend: Mapping[str, int]) -> str:
    """Draw a bar for each `(label, length, series)`, from the top."""
    with drawing(_ROW * len(rows) + 0.85) as figure:
        axes = figure.subplots()
        colours = [colour(series) for _, _, series in rows]
        axes.barh(range(len(rows)), [length for _, length, _ in rows], 0.62, color=colours)
        axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel(xlabel)
        for label, series in legend.items():
            axes.barh(0, 0, color=colour(series), label=label)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return finished(figure, name, title)


def _interval(axes: Axes, point: Point, y: float) -> None:
    shade = colour(point.series)
    if point.ci is not None:
        axes.plot(point.ci, [y, y], color=shade, linewidth=1.4, solid_capstyle="butt")
    axes.plot(point.value, y, marker(point.series), color=shade, markerfacecolor=PAPER if point.hollow else shade)


def _upright(axes: Axes, point: Point, x: float) -> None:
    shade = colour(point.series)
    if point.ci is not None:
        axes.plot([x, x], point.ci, color=shade, linewidth=1.4, solid_capstyle="butt")
    axes.plot(x, point.value, marker(point.series), color=shade, markerfacecolor=PAPER if point.hollow else shade)


def _legend(axes: Axes, legend: Mapping[str, Point]) -> None:
    figure = axes.figure
    handles = [
        axes.plot(
            [],
            [],
            marker(point.series),
            color=colour(point.series),
            markerfacecolor=PAPER if point.hollow else colour(point.series),
            label=label,
        )[0]
        for label, point in legend.items()
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.2)
