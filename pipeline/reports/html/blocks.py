"""Page blocks: sections of sentences, tables, plots and pictures. Templates say how they look."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A figure, an interval, or a figure with its interval.
_NUMBER = re.compile(r"[+−<-]?\d[\d.e+−-]*( \[[^\]]*\])?|\[[^\]]*\]")

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """Columns and rows as people read them, and the same numbers in full for a download.

    Attributes:
        name: of the file that is downloaded, without suffix; unique on the page.
        caption: says what it holds.
        columns: their heads.
        rows: cells as texts.
        data: the columns' heads and rows of the CSV file; the table's own where left out.
        folded: whether it opens on demand.
        stacked: whether a phone shows each row as a list of its cells, so that none is out of sight.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: tuple[Sequence[str], Sequence[Sequence[Cell]]] | None = None
    folded: bool = False
    stacked: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Of each column, whether its cells are numbers, which stand flush right."""
        columns = [[row[place] for row in self.rows if row[place]] for place in range(len(self.columns))]
        return [bool(cells) and all(map(_NUMBER.fullmatch, cells)) for cells in columns]

    @property
    def csv_link(self) -> str:
        """The CSV file as a `data:` address."""
        columns, rows = self.data or (self.columns, self.rows)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(out.getvalue().encode()).decode()


@dataclass(frozen=True)
class Plot:
    """A drawing, and the table of its numbers as its alternative in text.

    Attributes:
        name: of the files that are downloaded, and of the element on the page; unique.
        caption: what is drawn, and how to read it.
        svg: the drawing; see `svg.py`.
        table: its numbers.
    """

    name: str
    caption: str
    svg: str
    table: Table


@dataclass(frozen=True)
class Picture:
    """One image as a `data:` address, what it shows in words, and the text below it."""

    source: str
    alt: str
    title: str
    text: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class Card:
    """A sample: its pictures in a row, and a line about it."""

    title: str
    pictures: Sequence[Picture]
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor.
        title: its head, and its name in the list of contents.
        lead: sentences that say what it comes to.
        plots: drawings.
        tables: tables.
        cards: samples.
        notes: what to know when reading it.
        terms: words and what they mean.
        listing: a title, and text that is shown as it is, such as a recipe.
        missing: how to get what is not there.
    """

    name: str
    title: str
    lead: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    cards: Sequence[Card] = ()
    notes: Sequence[str] = ()
    terms: Sequence[tuple[str, str]] = ()
    listing: tuple[str, str] | None = None
    missing: str = ""


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A figure for people, with a true minus; empty where there is none."""
    if value is None:
        return ""
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval(ci: Sequence[float] | None, digits: int = 3) -> str:
    """An interval for people; empty where there is none."""
    return f"[{number(ci[0], digits)}, {number(ci[1], digits)}]" if ci else ""


def bound(ci: Sequence[float] | None, end: int) -> float | None:
    """One end of an interval for a CSV file."""
    return None if ci is None else ci[end]


def accuracies(subject: Mapping[str, Any]) -> tuple[str | int | float | None, ...]:
    """A subject's cells of a CSV file: name, samples, then clean and robust accuracy with their intervals."""
    cells: list[str | int | float | None] = [subject["name"], subject["samples"]]
    for figure in ("clean_accuracy", "robust_accuracy"):
        ci = subject.get(f"{figure}_ci")
        cells += [subject[figure], bound(ci, 0), bound(ci, 1)]
    return tuple(cells)
