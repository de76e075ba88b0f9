"""Latency: over the float engine's, which can be gated, and in milliseconds, which are the machine's."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Column, Figure, Interval, Medium, Subject, register
from .reading import number, part_of


def _first_batch(subject: Subject, *keys: str) -> tuple[str, ...] | None:
    """The keys of the first batch size in a part of the report's `bench`."""
    found = part_of(subject, ("bench", *keys))
    return ("bench", *keys, next(iter(found))) if isinstance(found, Mapping) and found else None


def _ratio(subject: Subject) -> float | None:
    """How many times as long as the float engine this one takes; an older report has the inverse alone."""
    if keys := _first_batch(subject, "latency_ratio"):
        return number(*keys, "ratio")(subject)
    keys = _first_batch(subject, "times_slower_than_engine", "float")
    inverse = number(*keys)(subject) if keys else None
    return 1 / inverse if inverse else None


def _interval(subject: Subject) -> Interval | None:
    keys = _first_batch(subject, "latency_ratio")
    low, high = (number(*keys, end)(subject) if keys else None for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def _note(subject: Subject, medium: Medium) -> str:
    how = f"of a batch of {subject['latency_ms'].get('batch', 1)}, all subjects timed in turn."
    return {"text": f"ms: median latency {how}", "page": f"Latency: median {how}"}.get(medium, "")


register(
    Figure(
        "latency_ratio",
        "latency",
        "ratio",
        _ratio,
        _interval,
        falls=False,
        help="how many times as long as the float ONNX file on ONNX Runtime the engine takes, timed in turn in the "
        "same run, at the first of `bench.batches`",
        advice="`edgeproof bench` times it beside others; `edgeproof lint` says what keeps operators in float.",
        place=80,
    ),
    Figure(
        "latency_ms",
        "median latency in milliseconds",
        "shown",
        number("latency_ms", "p50"),
        falls=False,
        help="median latency in milliseconds, all subjects timed in turn",
        column=Column(
            {"text": "ms", "page": "latency, ms", "engines": "ms (batch 1, p50)"},
            lambda value, _: f"{value:.3f}",
            note=_note,
        ),
        place=110,
    ),
)
