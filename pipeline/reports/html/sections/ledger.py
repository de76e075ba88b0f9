"""From teacher to engine: what every step keeps, and where robustness is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....core.reading.counted import counted
from .....stages.statistics.paired import PairedComparison
from ....figures.ledger import ledger
from ....figures.table import gated, routes_of
from ....gates.result import value_text
from ...rows import p_value
from ..blocks import Cell, Plot, Section, Table, accuracies, bound, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView

_NOTE = (
    "Steps are compared on the same samples: the difference with Tango's score interval, and the exact McNemar test. "
    "A step back by a few samples is often chance."
)


def ledger_section(run: RunView) -> Section:
    """Accuracies with intervals, sizes and latencies of all subjects, and every step compared sample by sample."""
    steps = _steps(run)
    title = "From teacher to engine" if len(run.subjects) > 1 else "Accuracy"
    return Section(
        name="ledger",
        title=title,
        lead=[_lead(run, steps)],
        plots=[_plot(run)],
        tables=[
            _table(run),
            *([_step_table(run, steps)] if steps else []),
            *([_figure_table(run)] if run.engines else []),
        ],
        notes=[_NOTE] if steps else [],
    )


Step = tuple[Mapping[str, Any], Mapping[str, Any], PairedComparison]


def _steps(run: RunView) -> list[Step]:
    """What was made from what, where both have bits on the same samples."""
    found: list[Step] = []
    for subject in run.subjects:
        earlier = run.before(subject)
        if earlier is None:
            continue
        if (paired := run.paired(earlier, subject)) is not None:
            found.append((earlier, subject, paired))
    return found


def _lead(run: RunView, steps: list[Step]) -> str:
    if not steps:
        engine = run.engines[-1] if run.engines else run.subjects[-1]
        return (
            f"{run.label(engine)} answers {number(engine['clean_accuracy'])} of the clean images correctly and "
            f"{number(engine['robust_accuracy'])} {interval(engine['robust_accuracy_ci'])} under attack."
        )
    earlier, subject, worst = min(steps, key=lambda step: step[2].difference)
    if worst.difference >= 0:
        return "No step loses robust accuracy on these samples."
    words = "more than chance explains" if worst.interval[1] < 0 else "which chance may explain"
    return (
        f"Most robustness is lost from {earlier['name']} to {run.label(subject)}: "
        f"{number(worst.difference, sign=True)} {interval(worst.interval)} ({counted(worst.lost, 'sample')} lost, "
        f"{worst.gained} gained), {words}."
    )


def _plot(run: RunView) -> Plot:
    rows = [
        Row(
            run.label(subject),
            [
                run.point(subject, "clean_accuracy", hollow=True),
                run.point(subject, "robust_accuracy"),
            ],
            f"n={subject['samples']}",
        )
        for subject in run.subjects
    ]
    table = Table(
        "ledger-accuracy",
        "Clean and robust accuracy of every subject",
        ("subject", "samples", "clean", "95 % interval", "robust", "95 % interval"),
        [
            (
                run.label(subject),
                str(subject["samples"]),
                number(subject["clean_accuracy"]),
                interval(subject.get("clean_accuracy_ci")),
                number(subject["robust_accuracy"]),
                interval(subject.get("robust_accuracy_ci")),
            )
            for subject in run.subjects
        ],
        (
            ("subject", "samples", "clean", "clean_low", "clean_high", "robust", "robust_low", "robust_high"),
            [accuracies(subject) for subject in run.subjects],
        ),
        folded=True,
    )
    legend = {"clean": Point(0, None, 0, True), "robust": Point(0, None, 0)}
    drawn = intervals("ledger-plot", "Clean and robust accuracy of every subject", rows, "accuracy", legend)
    caption = f"Clean (hollow) and robust (filled) accuracy; bars are the {run.interval_name}."
    return Plot("ledger-plot", caption, drawn, table)


def _table(run: RunView) -> Table:
    found = ledger(run.subjects, "page", run.before)
    return Table(
        "ledger",
        " ".join(("The ledger.", *found.notes)),
        ("subject", *found.columns),
        [
            (run.label(subject), *(cell.replace("-", "−") for cell in row))
            for subject, row in zip(run.subjects, found.rows, strict=True)
        ],
        stacked=True,
    )


def _figure_table(run: RunView) -> Table:
    """Every figure that a gate can be set on, of every engine."""
    rows: list[tuple[str, ...]] = []
    data: list[tuple[Cell, ...]] = []
    for figure in gated(routes_of(run.subjects)):
        cells: list[str] = []
        for engine in run.engines:
            value, ci = figure.value(engine), figure.interval(engine)
            cells.append("" if value is None else f"{value_text(value)} {interval(ci)}".rstrip())
            if value is not None:
                data.append((engine["name"], figure.name, value, bound(ci, 0), bound(ci, 1)))
        if any(cells):
            rows.append((figure.name, figure.words, *cells))
    return Table(
        "figures",
        "Every figure that a gate can be set on",
        ("figure", "what it is", *(run.label(engine) for engine in run.engines)),
        rows,
        (("engine", "figure", "value", "low", "high"), data),
        folded=True,
    )


def _step_table(run: RunView, steps: list[Step]) -> Table:
    return Table(
        "steps",
        "Where robustness is lost, sample by sample",
        ("step", "lost", "gained", "difference [95 %, Tango]", "p (exact McNemar)"),
        [
            (
                f"{earlier['name']} → {run.label(subject)}",
                str(found.lost),
                str(found.gained),
                f"{number(found.difference, sign=True)} {interval(found.interval)}",
                p_value(found.p_value),
            )
            for earlier, subject, found in steps
        ],
        (
            ("from", "to", "samples", "lost", "gained", "difference", "low", "high", "p"),
            [
                (
                    earlier["name"],
                    subject["name"],
                    found.samples,
                    found.lost,
                    found.gained,
                    found.difference,
                    *found.interval,
                    found.p_value,
                )
                for earlier, subject, found in steps
            ],
        ),
        stacked=True,
    )
