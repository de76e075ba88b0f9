"""Sections of the comparison page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...figures.ledger import ledger
from ...results.report import Report
from ..rows import p_value
from .blocks import Plot, Section, Table, accuracies, interval, number
from .differences import environment_differences, recipe_differences, same_machine
from .draw import Line, Point, Row, intervals, lines
from .run import RunView

# What `compare` returns, or why two runs do not compare.
Comparison = Mapping[str, Any] | str
# Data-set rows of a table's cell.
_ROWS_SHOWN = 30


def paired(letters: Sequence[str], compared: Sequence[Comparison], figure: str) -> Section:
    """Every run against the first, on the samples that both were verified on."""
    fine = [(letter, each) for letter, each in zip(letters[1:], compared, strict=True) if not isinstance(each, str)]
    notes = [f"{letter}: {note}" for letter, each in fine for note in each["notes"]]
    refused = [
        f"{letter} does not compare with A sample by sample: {each}"
        for letter, each in zip(letters[1:], compared, strict=True)
        if isinstance(each, str)
    ]
    table = Table(
        "paired",
        f"{figure.capitalize()} accuracy against A on the same samples",
        ("run", "engine", "samples", "A", "run's", "lost", "gained", "difference [95 %, Tango]", "p (exact McNemar)"),
        [
            (
                letter,
                each["second"]["subject"],
                str(each["samples"]),
                number(each["first"]["accuracy"]),
                number(each["second"]["accuracy"]),
                str(len(each["lost"])),
                str(len(each["gained"])),
                f"{number(each['difference'], sign=True)} {interval(each['ci'])}",
                p_value(each["p"]),
            )
            for letter, each in fine
        ],
        (
            ("run", "path", "engine", "samples", "lost", "gained", "difference", "low", "high", "p"),
            [
                (
                    letter,
                    each["second"]["path"],
                    each["second"]["subject"],
                    each["samples"],
                    len(each["lost"]),
                    len(each["gained"]),
                    each["difference"],
                    *each["ci"],
                    each["p"],
                )
                for letter, each in fine
            ],
        ),
    )
    plots = []
    if fine:
        rows = [
            Row(f"{letter} − A", [Point(each["difference"], each["ci"], letters.index(letter))], f"n={each['samples']}")
            for letter, each in fine
        ]
        title = f"Difference of {figure} accuracy to A"
        drawn = intervals("paired-plot", title, rows, f"difference of {figure} accuracy", {}, limit=0.0)
        plots = [Plot("paired-plot", f"{title}; bars are Tango's 95 % score intervals.", drawn, table)]
    more = len(fine) > 1
    return Section(
        name="paired",
        title="Sample by sample",
        lead=refused,
        plots=plots,
        tables=[]
        if not fine
        else [Table("paired-rows", "Which samples", ("run", "change", "data-set rows"), _which(fine))],
        notes=[
            *notes,
            *(
                [
                    "Lost: right in A and not in the run; gained: the other way round. That no difference shows does "
                    "not prove that there is none."
                ]
                if fine
                else []
            ),
            *(["Intervals and p-values are not corrected for comparing several runs."] if more else []),
        ],
    )


def _which(fine: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
    return [
        (
            letter,
            word,
            ", ".join(map(str, each[word][:_ROWS_SHOWN])) + (", …" if len(each[word]) > _ROWS_SHOWN else "") or "none",
        )
        for letter, each in fine
        for word in ("lost", "gained")
    ]


def ledgers(letters: Sequence[str], runs: Sequence[RunView]) -> Section:
    """All subjects of all runs."""
    each = [(letter, run, subject) for letter, run in zip(letters, runs, strict=True) for subject in run.subjects]
    rows: list[Row] = []
    for place, (letter, run, subject) in enumerate(each):
        if place == 0 or each[place - 1][0] != letter:
            rows.append(Row(f"{letter} {run.report.data.get('name', '')}"))
        series = letters.index(letter)
        points = [
            Point(subject["clean_accuracy"], subject.get("clean_accuracy_ci"), series, True),
            Point(subject["robust_accuracy"], subject.get("robust_accuracy_ci"), series),
        ]
        rows.append(Row(run.label(subject), points, f"n={subject['samples']}"))
    found = ledger([subject for _, _, subject in each], "runs")
    table = Table(
        "ledgers",
        " ".join(("The ledgers.", *found.notes)) if found.notes else "The ledgers",
        ("run", "subject", "samples", *found.columns),
        [
            (letter, run.label(subject), str(subject["samples"]), *(cell.replace("-", "−") for cell in row))
            for (letter, run, subject), row in zip(each, found.rows, strict=True)
        ],
        (
            ("run", "subject", "samples", "clean", "clean_low", "clean_high", "robust", "robust_low", "robust_high"),
            [(letter, *accuracies(subject)) for letter, _, subject in each],
        ),
        folded=True,
    )
    legend = {"clean": Point(0, None, 0, True), "robust": Point(0, None, 0)}
    title = "Clean and robust accuracy of all subjects"
    threats = sorted({run.threat for run in runs})
    attacks = sorted({run.attacks for run in runs})
    return Section(
        name="ledgers",
        title="Ledgers",
        plots=[
            Plot(
                "ledgers-plot",
                f"{title}; bars are 95 % intervals.",
                intervals("ledgers-plot", title, rows, "accuracy", legend),
                table,
            )
        ],
        notes=[
            f"Robust accuracy: the worst case over all routes, {' / '.join(threats)}, attacked with "
            f"{' / '.join(attacks)}."
            + (" The threat models differ: these figures do not compare." if len(threats) > 1 else "")
        ],
    )


def curves(letters: Sequence[str], runs: Sequence[RunView]) -> Section | None:
    """The engines' curves of accuracy over eps, where all runs have one norm."""
    found = [
        (letter, run, engine)
        for letter, run in zip(letters, runs, strict=True)
        for engine in run.engines
        if "curve" in engine
    ]
    norms = {run.report.data["threat_model"]["norm"] for run in runs}
    if len({letter for letter, _, _ in found}) < 2 or len(norms) > 1:
        return None
    drawn = lines(
        "curves-plot",
        "Accuracy over eps of the engines",
        [
            Line(
                f"{letter} {run.label(engine)}",
                engine["curve"]["radii"],
                engine["curve"]["accuracy"],
                place,
                engine["curve"]["accuracy_ci"],
            )
            for place, (letter, run, engine) in enumerate(found)
        ],
        f"{norms.pop()} radius",
        "accuracy",
    )
    rows = [
        (letter, run.label(engine), str(engine["curve"]["samples"]), f"{radius:.4g}", f"{number(value)} {interval(ci)}")
        for letter, run, engine in found
        for radius, value, ci in zip(
            engine["curve"]["radii"], engine["curve"]["accuracy"], engine["curve"]["accuracy_ci"], strict=True
        )
    ]
    table = Table(
        "curves", "Accuracy at each radius", ("run", "engine", "samples", "radius", "accuracy"), rows, folded=True
    )
    caption = "Accuracy over eps; upper bounds, bars are 95 % Clopper–Pearson intervals."
    return Section(name="curves", title="Accuracy over eps", plots=[Plot("curves-plot", caption, drawn, table)])


def speed(letters: Sequence[str], runs: Sequence[RunView]) -> Section | None:
    """Sizes and latencies of engines of one name, as ratios to the first run's."""
    base = {engine["name"]: engine for engine in runs[0].engines}
    alike = same_machine([run.report for run in runs])
    rows: list[tuple[str, ...]] = []
    for letter, run in list(zip(letters, runs, strict=True))[1:]:
        for engine in run.engines:
            first = base.get(engine["name"])
            if first is not None:
                size = _ratio(engine.get("size_bytes"), first.get("size_bytes"))
                latency = _ratio(*((each.get("latency_ms") or {}).get("p50") for each in (engine, first)))
                rows.append((letter, run.label(engine), size, latency if alike else ""))
    if not any(row[2] or row[3] for row in rows):
        return None
    note = (
        "The runs describe their machines alike, but were timed one after the other: for a ratio that counts, time "
        "both side by side with edgeproof bench A --against B."
        if alike
        else "The runs were timed on machines of different descriptions: no ratio of latencies is given. Time both "
        "side by side with edgeproof bench A --against B."
    )
    table = Table("ratios", "Engines of one name, as ratios to A's", ("run", "engine", "size", "median latency"), rows)
    return Section(name="speed", title="Size and speed", tables=[table], notes=[note])


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.3f}" if value and base else ""


def recipes(letters: Sequence[str], reports: Sequence[Report]) -> Section:
    """Keys that are not the same in all recipes."""
    rows = recipe_differences(reports)
    if rows is None:
        return Section(name="recipes", title="Recipes", lead=["Not every run has a recipe; a verification has none."])
    if not rows:
        return Section(name="recipes", title="Recipes", lead=["The recipes are the same."])
    table = Table("recipes", "Keys that differ", ("key", *letters), rows)
    return Section(name="recipes", title="Recipes", tables=[table])


def environments(letters: Sequence[str], reports: Sequence[Report]) -> Section:
    """Versions and machines that are not the same."""
    rows = environment_differences(reports)
    if not rows:
        return Section(name="environments", title="Environments", lead=["Versions and machines are described alike."])
    table = Table("environments", "What differs", ("what", *letters), rows)
    return Section(name="environments", title="Environments", tables=[table])
