"""The figures that gates can be set on, and where they stand in a subject of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.errors import UsageError
from ...core.registry import nearest

Interval = tuple[float, float]
Subject = Mapping[str, Any]
BitColumns = Mapping[str, np.ndarray]
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
    bits: Callable[[BitColumns], np.ndarray | None] = lambda _: None
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
        return None if found is None else _as_number(subject, keys, found)

    return read


def _interval(key: str) -> Callable[[Subject], Interval | None]:
    def read(subject: Subject) -> Interval | None:
        found = subject.get(key)
        if not found:
            return None
        if not isinstance(found, Sequence) or len(found) != 2:
            raise UsageError(f"the report's {key} of {subject['name']} is no interval: {found!r}")
        return _as_number(subject, (key,), found[0]), _as_number(subject, (key,), found[1])

    return read


def _as_number(subject: Subject, keys: Sequence[str], found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UsageError(f"the report's {'.'.join(keys)} of {subject['name']} is no number: {found!r}")
    return float(found)


def _column(name: str) -> Callable[[BitColumns], np.ndarray | None]:
    return lambda bits: bits.get(name)


def _no_interval(_: Subject) -> None:
    return None


def _agreement(route: str) -> Figure:
    """The share of the samples on which the bits after a route are the final ones: no later route broke them.

    Bits are cumulative and every route runs on what the ones before left standing, so this is 1 less what the later
    routes took from the robust accuracy.
    """

    def value(subject: Subject) -> float | None:
        after, final = _number("routes", route)(subject), _number("robust_accuracy")(subject)
        return None if after is None or final is None else 1.0 - (after - final)

    def interval(subject: Subject) -> Interval | None:
        from ...stages.statistics.proportions import clopper_pearson

        found, samples = value(subject), _number("samples")(subject)
        if found is None or samples is None or "sequential" in subject:
            return None
        return clopper_pearson(round(found * samples), round(samples))

    def bits(columns: BitColumns) -> np.ndarray | None:
        return columns[route] == columns[ROBUST] if {route, ROBUST} <= columns.keys() else None

    return Figure(f"{route}_agreement", f"agreement after {route}", "share", value, interval, bits, attacked=True)


def _size_ratio(subject: Subject) -> float | None:
    size, floating = _number("size_bytes")(subject), _number("bench", "size_bytes", "float")(subject)
    return size / floating if size is not None and floating else None


def _first_batch(subject: Subject, *keys: str) -> tuple[str, ...] | None:
    """The keys of the first batch size in a part of the report's `bench`."""
    found: Any = subject.get("bench")
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return ("bench", *keys, next(iter(found))) if isinstance(found, Mapping) and found else None


def _latency(subject: Subject) -> float | None:
    """How many times as long as the float engine this one takes; an older report has the inverse alone."""
    if keys := _first_batch(subject, "latency_ratio"):
        return _number(*keys, "ratio")(subject)
    keys = _first_batch(subject, "times_slower_than_engine", "float")
    inverse = _number(*keys)(subject) if keys else None
    return 1 / inverse if inverse else None


def _latency_interval(subject: Subject) -> Interval | None:
    keys = _first_batch(subject, "latency_ratio")
    low, high = (_number(*keys, end)(subject) if keys else None for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


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
    Figure("latency_ratio", "latency", "ratio", _latency, _latency_interval, falls=False),
    Figure("size_bytes", "size", "number", _number("size_bytes"), _no_interval, falls=False),
    Figure("size_ratio", "size over the float file's", "number", _size_ratio, _no_interval, falls=False),
)
FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _ALL}
