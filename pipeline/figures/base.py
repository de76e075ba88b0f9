"""Figure of merit: how it is read from a subject of the report, judged against a baseline, and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from ...core.errors import EdgeproofError, StageError, raised
from ...core.registry import Registry

Interval = tuple[float, float]
Subject = Mapping[str, Any]
BitColumns = Mapping[str, np.ndarray]
T = TypeVar("T")
ROBUST = "robust"

# How a figure is held against a baseline:
#   share      of the samples: bit by bit
#   retention  by the bits of engine and student
#   mean       over samples of which no bits are kept: by both intervals
#   ratio      of latencies: by both intervals, on a logarithmic scale
#   number     no estimate at all: as it is
#   shown      never: it is shown, and no gate can be set on it
Kind = Literal["share", "retention", "mean", "ratio", "number", "shown"]
# Where columns stand: on the terminal and in Markdown; on a run's page; on the page of runs side by side; among the
# figures of a model card; in its list of engines.
Medium = Literal["text", "page", "runs", "card", "engines"]


def three_digits(value: float, _: Medium) -> str:
    """A share as people read it: `0.867`."""
    return f"{value:.3f}"


@dataclass(frozen=True)
class Column:
    """How ledgers show a figure.

    Attributes:
        heads: the column's head by medium; a medium that is left out has no such column. A line of `text` has 80
            characters for all.
        cell: writes a value.
        bounded: the media where the interval stands behind it.
        changes: likewise as `heads`, of a column of the change from the step before.
        note: what a medium says below, of the first subject that has the figure.
    """

    heads: Mapping[Medium, str]
    cell: Callable[[float, Medium], str] = three_digits
    bounded: tuple[Medium, ...] = ("page", "runs", "card")
    changes: Mapping[Medium, str] = field(default_factory=dict)
    note: Callable[[Subject, Medium], str] = lambda _, __: ""


def _no_interval(_: Subject) -> None:
    return None


@dataclass(frozen=True)
class Figure:
    """A figure of a subject; only engines are gated.

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
        help: what it is, in a sentence without a full stop.
        advice: what to do where its gate fails.
        traced: whether the float student's value tells which step lost it, which is then said instead.
        measured_by: the key of the recipe's `verify` section, and the option of `edgeproof verify`, without which it is
            not measured; None where it always is.
        column: how ledgers show it; None where they do not.
        place: figures are listed by it, then by name.
    """

    name: str
    words: str
    kind: Kind
    value: Callable[[Subject], float | None]
    interval: Callable[[Subject], Interval | None] = _no_interval
    bits: Callable[[BitColumns], np.ndarray | None] = lambda _: None
    attacked: bool = False
    falls: bool = True
    help: str = ""
    advice: str = ""
    traced: bool = False
    measured_by: str | None = None
    column: Column | None = None
    place: int = 1000

    def __post_init__(self) -> None:
        told = self.help or self.words
        # What lists of plug-ins show of an entry.
        object.__setattr__(self, "__doc__", f"{told[:1].upper()}{told[1:]}.")
        object.__setattr__(self, "value", _guarded(self.name, self.value))
        object.__setattr__(self, "interval", _guarded(self.name, self.interval))


def _guarded(name: str, read: Callable[[Subject], T]) -> Callable[[Subject], T]:
    """A reader whose failure, for somebody else may have written it, is told in a line."""

    def guarded(subject: Subject) -> T:
        try:
            return read(subject)
        except EdgeproofError:
            raise
        except Exception as error:
            raise StageError(f"figure {name} of {subject.get('name')}: {raised(error)}") from error

    return guarded


GROUP = "edgeproof.figures"
figures: Registry[Figure] = Registry("figure", "edgeproof.pipeline.figures", GROUP)


def register(*rows: Figure) -> None:
    """File figures under their names."""
    for row in rows:
        figures.register(row.name)(row)
