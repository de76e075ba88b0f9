"""Readers of a subject of the report: numbers, intervals, columns of bits, what its routes left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import UsageError
from .base import BitColumns, Interval, Subject


def part_of(subject: Subject, keys: Sequence[str]) -> Any:
    """What a subject holds under nested keys; None where one is missing."""
    found: Any = subject
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def number(*keys: str) -> Callable[[Subject], float | None]:
    """A reader of the number under nested keys; None where one is missing.

    Raises:
        UsageError: (the reader) there is something else.
    """

    def read(subject: Subject) -> float | None:
        found = part_of(subject, keys)
        return None if found is None else _as_number(subject, keys, found)

    return read


def interval(key: str) -> Callable[[Subject], Interval | None]:
    """A reader of the two ends of an interval.

    Raises:
        UsageError: (the reader) there is something else.
    """

    def read(subject: Subject) -> Interval | None:
        found = subject.get(key)
        if not found:
            return None
        if not isinstance(found, Sequence) or len(found) != 2:
            raise UsageError(f"the report's {key} of {subject['name']} is no interval: {found!r}")
        return _as_number(subject, (key,), found[0]), _as_number(subject, (key,), found[1])

    return read


def column(name: str) -> Callable[[BitColumns], np.ndarray | None]:
    """A reader of a column of bits."""
    return lambda bits: bits.get(name)


def routes_left(subject: Subject) -> Mapping[str, float]:
    """Robust accuracy after each route, in order; of a network after each attack of AutoAttack."""
    return subject.get("routes") or subject.get("attacks") or {}


def _as_number(subject: Subject, keys: Sequence[str], found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UsageError(f"the report's {'.'.join(keys)} of {subject['name']} is no number: {found!r}")
    return float(found)
