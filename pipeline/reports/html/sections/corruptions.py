"""Accuracy under common corruptions, where it was measured."""

from __future__ import annotations

from .....core.reading.counted import counted
from ..blocks import Plot, Section, Table, interval, number
from ..draw import Point, Row, intervals
from ..run import RunView


def corruptions_section(run: RunView) -> Section | None:
    """One row a corruption; None where none were shown."""
    found = [subject for subject in run.subjects if "corruptions" in subject]
    if not found:
        return None
    first = found[0]["corruptions"]
    names = list(first["accuracy"])
    mean = {
        subject["name"]: [sum(values) / len(values) for values in subject["corruptions"]["accuracy"].values()]
        for subject in found
    }
    rows = [
        Row("mean", [run.point(each, "corrupted_accuracy") for each in found]),
        *(
            Row(
                name.replace("_", " "),
                [Point(mean[each["name"]][place], None, run.series(each["name"])) for each in found],
            )
            for place, name in enumerate(names)
        ),
    ]
    legend = {run.label(each): Point(0, None, run.series(each["name"])) for each in found}
    title = "Accuracy under common corruptions"
    table = Table(
        "corruptions",
        title,
        ("corruption", *(run.label(each) for each in found)),
        [
            (
                "mean",
                *(f"{number(each['corrupted_accuracy'])} {interval(each['corrupted_accuracy_ci'])}" for each in found),
            ),
            *((name, *(number(mean[each["name"]][place]) for each in found)) for place, name in enumerate(names)),
        ],
        (
            ("subject", "corruption", "severity", "accuracy"),
            [
                (each["name"], name, severity, value)
                for each in found
                for name, values in each["corruptions"]["accuracy"].items()
                for severity, value in zip(each["corruptions"]["severities"], values, strict=True)
            ],
        ),
        folded=True,
    )
    drawn = intervals("corruptions-plot", title, rows, "accuracy", legend)
    shown = counted(found[0]["samples"], "image")
    severities = ", ".join(map(str, first["severities"]))
    return Section(
        name="corruptions",
        title="Common corruptions",
        plots=[
            Plot(
                "corruptions-plot",
                f"Accuracy on the same {shown} under {counted(len(names), 'corruption')}, mean over "
                f"severities {severities} of {first['constants']}; no attack. The bar is the {run.interval_name} of "
                "the mean.",
                drawn,
                table,
            )
        ],
    )
