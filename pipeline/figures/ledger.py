"""Ledger: the figures of subjects as columns, wherever one is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .base import Column, Figure, Medium, Subject
from .table import every


@dataclass(frozen=True)
class LedgerCells:
    """Columns that some subject fills, and their cells.

    Attributes:
        columns: their heads.
        rows: of every subject, its cells as texts.
        notes: sentences about the columns.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...]


def ledger(
    subjects: Sequence[Subject], medium: Medium, before: Callable[[Subject], Subject | None] = lambda _: None
) -> LedgerCells:
    """Show subjects by all figures that have a column in a medium.

    Args:
        subjects: of a report, or of several.
        medium: where.
        before: what a subject was made from, for columns of changes.
    """
    shown: list[tuple[str, list[str]]] = []
    notes: list[str] = []
    for figure in every():
        column = figure.column
        if column is None:
            continue
        if head := column.heads.get(medium):
            cells = [_cell(figure, column, subject, medium) for subject in subjects]
            shown.append((head, cells))
            has = next((subject for subject, cell in zip(subjects, cells, strict=True) if cell), None)
            notes.append("" if has is None else column.note(has, medium))
        if head := column.changes.get(medium):
            cells = [_change(figure, subject, before(subject)) for subject in subjects]
            shown.append((head, cells))
            if any(cells):
                notes.append(f"{head.capitalize()}: of {figure.words} from the step before.")
    filled = [(head, cells) for head, cells in shown if any(cells)]
    return LedgerCells(
        tuple(head for head, _ in filled),
        [tuple(cells[place] for _, cells in filled) for place in range(len(subjects))],
        tuple(filter(None, notes)),
    )


def _cell(figure: Figure, column: Column, subject: Subject, medium: Medium) -> str:
    value = figure.value(subject)
    if value is None:
        return ""
    interval = figure.interval(subject) if medium in column.bounded else None
    return column.cell(value, medium) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _change(figure: Figure, subject: Subject, before: Subject | None) -> str:
    value, earlier = figure.value(subject), None if before is None else figure.value(before)
    return "" if value is None or earlier is None else f"{value - earlier:+.3f}"


def before(subject: Subject, subjects: Sequence[Subject]) -> Subject | None:
    """What a subject was made from: the network before it, or for an engine its step before, if there is one."""
    earlier = subjects[: subjects.index(subject)]
    if subject["kind"] == "engine" and earlier and earlier[-1]["kind"] == "step":
        return earlier[-1]
    return next((each for each in reversed(earlier) if each["kind"] == "torch"), None)
