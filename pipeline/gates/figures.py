"""The figures that gates can be set on, and where they stand in a subject of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...targets.errors import UsageError
from ...targets.registry import nearest

Interval = tuple[float, float]
Subject = Mapping[str, Any]
Bits = Mapping[str, np.ndarray]
CORRUPTED = "corrupted_accuracy"
ROBUST = "robust"

# How a figure is held against a baseline:
#   share      of the samples: bit by bit
#   retention  by the bits of engine and student
#   mean       over samples of which no bits are kept: by both intervals
#   ratio      of latencies: by both intervals, on a logarithmic scale
#   number     no estimate at all: as it is
Kind = Literal["share", "retention", "mean", "ratio", "number"]


@dataclass(frozen=True)
class Figure:
    """A figure of an engine.

    Attributes:
        name: as recipes write it.
        words: as sentences do.
        kind: how it is held against a baseline.
        value: read from a subject of the report; None where that has none.
        interval: likewise.
        bits: of a share: which samples count, from the columns of `verification/<subject>.npz`; None where a column is
            missing.
        attacked: whether another attack would find another figure.
        falls: whether a fall is a regression; else a rise is.
    """

    name: str
    words: str
    kind: Kind
    value: Callable[[Subject], float | None]
    interval: Callable[[Subject], Interval | None]
    bits: Callable[[Bits], np.ndarray | None] = lambda _: None
    attacked: bool = False
    falls: bool = True


def figure_named(name: str) -> Figure:
    """Return a figure.

    Raises:
        UsageError: there is none of that name; the nearest one is offered.
    """
    if name not in FIGURES:
        raise UsageError(f"unknown figure {name!r}{nearest(name, FIGURES)} (known: {', '.join(FIGURES)})")
    return FIGURES[name]


def _number(*keys: str) -> Callable[[Subject], float | None]:
    def read(subject: Subject) -> float | None:
        found: Any = subject
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else float(found)

    return read


def _interval(key: str) -> Callable[[Subject], Interval | None]:
    def read(subject: Subject) -> Interval | None:
        found = subject.get(key)
        return (float(found[0]), float(found[1])) if found else None

    return read


def _column(name: str) -> Callable[[Bits], np.ndarray | None]:
    return lambda bits: bits.get(name)


def _no_interval(_: Subject) -> None:
    return None


def _agreement(route: str) -> Figure:
    """The share of the samples on which the bits after a route are the final ones: no later route broke them.

    Bits are cumulative and every route runs on what the ones before left standing, so this is 1 less what the later
    routes took from the robust accuracy.
    """

    def value(subject: Subject) -> float | None:
        after = subject.get("routes", {}).get(route)
        return None if after is None else 1.0 - (float(after) - float(subject["robust_accuracy"]))

    def interval(subject: Subject) -> Interval | None:
        from ...stages.statistics.proportions import clopper_pearson

        found, samples = value(subject), subject.get("samples")
        if found is None or samples is None or "sequential" in subject:
            return None
        return clopper_pearson(round(found * samples), samples)

    def bits(columns: Bits) -> np.ndarray | None:
        return columns[route] == columns[ROBUST] if {route, ROBUST} <= columns.keys() else None

    return Figure(f"{route}_agreement", f"agreement after {route}", "share", value, interval, bits, attacked=True)


def _size_ratio(subject: Subject) -> float | None:
    size, floating = _number("size_bytes")(subject), _number("bench", "size_bytes", "float")(subject)
    return size / floating if size is not None and floating else None


def _latency(subject: Subject) -> Mapping[str, float]:
    """How many times as long as the float engine this one takes: `ratio`, and `low` and `high` if the report has them.

    Of the first batch size of the report's `bench`; an older report has the medians' ratio alone.
    """
    bench = subject.get("bench", {})
    if found := bench.get("latency_ratio", {}):
        return next(iter(found.values()))
    inverse = bench.get("times_slower_than_engine", {}).get("float", {})
    return {"ratio": 1 / next(iter(inverse.values()))} if inverse else {}


def _latency_interval(subject: Subject) -> Interval | None:
    found = _latency(subject)
    return (float(found["low"]), float(found["high"])) if "low" in found else None


def _accuracy(name: str, words: str, column: str, *, attacked: bool) -> Figure:
    return Figure(name, words, "share", _number(name), _interval(f"{name}_ci"), _column(column), attacked=attacked)


_ALL = (
    _accuracy("clean_accuracy", "clean accuracy", "clean_correct", attacked=False),
    _accuracy("robust_accuracy", "robust accuracy", ROBUST, attacked=True),
    _accuracy("robust_accuracy_8bit", "robust accuracy on 8-bit images", "robust_8bit", attacked=True),
    Figure("retention", "retention", "retention", _number("retention"), _interval("retention_ci"), attacked=True),
    Figure(CORRUPTED, "accuracy under corruptions", "mean", _number(CORRUPTED), _interval(f"{CORRUPTED}_ci")),
    *(_agreement(route) for route in ("replay", "whitebox", "probe", "square")),
    *(
        Figure(
            f"twin_agreement_{kind}",
            f"agreement of twin and engine on {kind} images",
            "number",
            _number("twin_agreement", kind),
            _no_interval,
        )
        for kind in ("clean", "adversarial")
    ),
    Figure("latency_ratio", "latency", "ratio", lambda s: _latency(s).get("ratio"), _latency_interval, falls=False),
    Figure("size_bytes", "size", "number", _number("size_bytes"), _no_interval, falls=False),
    Figure("size_ratio", "size over the float file's", "number", _size_ratio, _no_interval, falls=False),
)
FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _ALL}
