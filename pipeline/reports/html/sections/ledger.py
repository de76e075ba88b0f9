"""From teacher to engine: what every step keeps, and where robustness is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....stages.statistics.paired import PairedComparison, compare_paired
from ..blocks import Plot, Section, Table, accuracies, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView

_NOTE = (
    "Steps are compared on the same samples: the difference with Tango's score interval, and the exact McNemar test. "
    "A step back by a few samples is often chance."
)


_COLUMNS = {
    "change": "Change: of robust accuracy from the step before.",
    "retention": "Retention: robust accuracy over the float student's.",
    "latency, ms": "Latency: median of a batch of 1, all subjects timed in turn.",
}


def ledger_section(run: RunView) -> Section:
    """Accuracies with intervals, sizes and latencies of all subjects, and every step compared sample by sample."""
    steps = _steps(run)
    title = "From teacher to engine" if len(run.subjects) > 1 else "Accuracy"
    return Section(
        name="ledger",
        title=title,
        lead=[_lead(run, steps)],
        plots=[_plot(run)],
        tables=[_table(run), *([_step_table(run, steps)] if steps else [])],
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
        one, other = run.bits(earlier["name"]), run.bits(subject["name"])
        if one is not None and other is not None and one.index.tolist() == other.index.tolist():
            found.append((earlier, subject, compare_paired(one.robust, other.robust)))
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
        f"{number(worst.difference, sign=True)} {interval(worst.interval)} ({worst.lost} samples lost, "
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
    columns = ("subject", "clean", "robust", "change", "retention", "size, KiB", "latency, ms")
    rows = [_row(run, subject) for subject in run.subjects]
    filled = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return Table(
        "ledger",
        " ".join(["The ledger.", *(_COLUMNS[columns[place]] for place in filled if columns[place] in _COLUMNS)]),
        [columns[place] for place in filled],
        [[row[place] for place in filled] for row in rows],
    )


def _row(run: RunView, subject: Mapping[str, Any]) -> tuple[str, ...]:
    earlier = run.before(subject)
    size, latency = subject.get("size_bytes"), subject.get("latency_ms")
    kept = subject.get("retention")
    change = None if earlier is None else subject["robust_accuracy"] - earlier["robust_accuracy"]
    return (
        run.label(subject),
        f"{number(subject['clean_accuracy'])} {interval(subject.get('clean_accuracy_ci'))}",
        f"{number(subject['robust_accuracy'])} {interval(subject.get('robust_accuracy_ci'))}",
        number(change, sign=True),
        "" if kept is None else f"{number(kept)} {interval(subject.get('retention_ci'))}",
        "" if size is None else f"{size / 1024:.1f}",
        "" if latency is None else f"{latency['p50']:.3g}",
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
                f"{found.p_value:.3g}",
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
    )
