"""Counters of the checks: what a verification counts against its own result, added up over shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar, cast


@dataclass
class Counter:
    """What one check counts: whole numbers, 0 where nothing was counted.

    A field for the worst of all shards needs an `__add__` of its own.
    """

    def __add__(self, other: Self) -> Self:
        added = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return type(self)(**added)


C = TypeVar("C", bound=Counter)


class Counts:
    """The counters of all checks on a shard or a subject, by their class: `counts[HugeEpsCounts].huge_eps_survived`.

    Args:
        counters: those known so far, one of a class; any other is all zeros.
    """

    def __init__(self, *counters: Counter) -> None:
        self._counters = {type(counter): counter for counter in counters}
        # As read from a file: nobody knows the class before somebody asks for it.
        self._unread: dict[str, Mapping[str, int]] = {}

    def __getitem__(self, kind: type[C]) -> C:
        if kind not in self._counters:
            self._counters[kind] = kind(**self._unread.pop(_address(kind), {}))
        return cast(C, self._counters[kind])

    def put(self, counter: Counter) -> None:
        """Replace the counter of a class."""
        self._counters[type(counter)] = counter

    def as_json(self) -> dict[str, Any]:
        """As JSON-able data, by the classes' addresses."""
        return {**self._unread, **{_address(kind): asdict(counter) for kind, counter in self._counters.items()}}

    @classmethod
    def of_json(cls, data: Mapping[str, Mapping[str, int]]) -> Counts:
        """Read what `as_json` gave."""
        counts = cls()
        counts._unread = dict(data)
        return counts


def _address(kind: type[Counter]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
