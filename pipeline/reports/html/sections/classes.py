"""Robust accuracy by class, and which samples the engine lost."""

from __future__ import annotations

from .....stages.statistics.proportions import clopper_pearson
from ..blocks import Cell, Plot, Section, Table, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView, SubjectBits

# With more classes the drawing shows the worst ones of the first engine.
_DRAWN = 20
_ROWS_SHOWN = 30


def classes_section(run: RunView) -> Section | None:
    """Intervals by class of the student and of every engine; None where the run has no bits."""
    shown = [each for each in run.subjects if each["kind"] == "engine" or each["name"] == run.student]
    found = {each["name"]: bits for each in shown if (bits := run.bits(each["name"])) is not None}
    engines = [name for name in found if name != run.student]
    if not engines:
        return None
    labels = sorted({*found[engines[0]].label.tolist()})
    worst = sorted(labels, key=lambda label: _share(found[engines[0]], label))
    drawn = sorted(worst[:_DRAWN])
    rows = [
        Row(
            run.class_name(label),
            [_point(run, name, bits, label) for name, bits in found.items()],
            f"n={int((found[engines[0]].label == label).sum())}",
        )
        for label in drawn
    ]
    legend = {name: Point(0, None, run.series(name)) for name in found}
    title = "Robust accuracy by class"
    svg = intervals("classes-plot", title, rows, "robust accuracy", legend)
    few = len(labels) > len(drawn)
    bars = "" if run.stopped else "; bars are 95 % Clopper–Pearson intervals of the few samples of a class"
    note = (
        "No intervals of single classes: the run stopped as soon as its gates were decided."
        if run.stopped
        else "Intervals of single classes: with many classes some differ by chance alone."
    )
    return Section(
        name="classes",
        title="By class",
        lead=[_lead(run, found, engines[0], worst)],
        plots=[
            Plot(
                "classes-plot",
                f"Robust accuracy by class{f', the {_DRAWN} lowest of {engines[0]}' if few else ''}{bars}.",
                svg,
                _table(run, found, labels),
            )
        ],
        tables=[_lost(run, found, engines)] if run.student in found else [],
        notes=[note],
    )


def _share(bits: SubjectBits, label: int) -> float:
    return float(bits.robust[bits.label == label].mean())


def _count(bits: SubjectBits, label: int) -> tuple[int, int]:
    return int(bits.robust[bits.label == label].sum()), int((bits.label == label).sum())


def _point(run: RunView, name: str, bits: SubjectBits, label: int) -> Point:
    kept, count = _count(bits, label)
    return Point(kept / count if count else 0.0, _interval(run, kept, count), run.series(name))


def _interval(run: RunView, kept: int, count: int) -> tuple[float, float] | None:
    # After a stop that depends on the figures themselves, no interval of a fixed sample holds.
    return None if run.stopped else clopper_pearson(kept, count)


def _lead(run: RunView, found: dict[str, SubjectBits], engine: str, worst: list[int]) -> str:
    low, high = worst[0], worst[-1]
    return (
        f"{engine} keeps {number(_share(found[engine], low))} of class {run.class_name(low)} and "
        f"{number(_share(found[engine], high))} of class {run.class_name(high)}."
    )


def _table(run: RunView, found: dict[str, SubjectBits], labels: list[int]) -> Table:
    rows: list[tuple[str, ...]] = []
    data: list[tuple[Cell, ...]] = []
    for label in labels:
        row = [run.class_name(label), ""]
        for name, bits in found.items():
            kept, count = _count(bits, label)
            ci = _interval(run, kept, count)
            row[1] = str(count)
            row.append(f"{number(kept / count)} {interval(ci)}".rstrip() if count else "")
            data.append((label, run.class_name(label), name, count, kept, *(ci or (None, None))))
        rows.append(tuple(row))
    return Table(
        "classes",
        "Robust accuracy by class",
        ("class", "samples", *found),
        rows,
        (("label", "class", "subject", "samples", "robust", "low", "high"), data),
        folded=True,
    )


def _lost(run: RunView, found: dict[str, SubjectBits], engines: list[str]) -> Table:
    """The samples that an engine loses and the student keeps, and the other way round."""
    assert run.student is not None
    student = found[run.student]
    cells: list[tuple[str, ...]] = []
    data: list[tuple[Cell, ...]] = []
    for name in engines:
        bits = found[name]
        if bits.index.tolist() != student.index.tolist():
            continue
        for word, chosen in (("lost", student.robust & ~bits.robust), ("gained", ~student.robust & bits.robust)):
            classes = [run.class_name(label) for label in bits.label[chosen].tolist()]
            by_class = ", ".join(f"{each} ×{classes.count(each)}" for each in dict.fromkeys(sorted(classes)))
            where = bits.index[chosen].tolist()
            more = ", …" if len(where) > _ROWS_SHOWN else ""
            rows = ", ".join(map(str, where[:_ROWS_SHOWN])) + more
            cells.append((name, word, str(len(where)), by_class or "none", rows or "none"))
            data += [(name, word, row, each) for row, each in zip(where, classes, strict=True)]
    return Table(
        "lost-samples",
        "Who is lost and gained against the float student",
        ("engine", "change", "samples", "classes", "data-set rows"),
        cells,
        (("engine", "change", "row", "class"), data),
        stacked=True,
    )
