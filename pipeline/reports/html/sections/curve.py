"""Accuracy over eps."""

from __future__ import annotations

from .....core.reading.counted import counted
from ..blocks import Plot, Section, Table, interval, number
from ..draw import Line, lines
from ..run import RunView


def curve_section(run: RunView) -> Section | None:
    """The curves of all subjects that have one; where a sequential run has none, nothing."""
    curved = [subject for subject in run.subjects if "curve" in subject]
    if not curved:
        if run.stopped:
            return None
        return Section(
            name="curve",
            title="Accuracy over eps",
            missing="Not measured in this run. A build measures it unless its recipe says verify.curve: null, and "
            "edgeproof verify does unless it is given --no-curve.",
        )
    eps, norm = (run.report.data["threat_model"][key] for key in ("eps", "norm"))
    first = curved[0]["curve"]
    drawn = lines(
        "curve-plot",
        "Accuracy over the radius of the ball",
        [
            Line(
                run.label(subject),
                subject["curve"]["radii"],
                subject["curve"]["accuracy"],
                run.series(subject["name"]),
                subject["curve"]["accuracy_ci"],
            )
            for subject in curved
        ],
        f"{norm} radius",
        "accuracy",
        mark=(eps, f"eps {eps:.4g}"),
    )
    columns = ["radius", *(run.label(subject) for subject in curved)]
    rows = [
        [
            f"{radius:.4g}" + (" (eps)" if abs(radius - eps) < 1e-9 else ""),
            *(
                f"{number(subject['curve']['accuracy'][place])} {interval(subject['curve']['accuracy_ci'][place])}"
                for subject in curved
            ),
        ]
        for place, radius in enumerate(first["radii"])
    ]
    data = [
        (subject["name"], radius, value, *ci, subject["curve"]["samples"])
        for subject in curved
        for radius, value, ci in zip(
            subject["curve"]["radii"], subject["curve"]["accuracy"], subject["curve"]["accuracy_ci"], strict=True
        )
    ]
    table = Table(
        "curve",
        "Accuracy at each radius",
        columns,
        rows,
        (("subject", "radius", "accuracy", "low", "high", "samples"), data),
        folded=True,
    )
    count, total = first["samples"], curved[0]["samples"]
    drawn_from = f"on {counted(count, 'test image')}"
    if count < total:
        drawn_from = f"on {count} of the {total} test images, drawn with seed {first['seed']}"
    attacks = " and ".join(name.upper() for name in first["attacks"])
    return Section(
        name="curve",
        title="Accuracy over eps",
        plots=[
            Plot(
                "curve-plot",
                f"Share of samples without a known adversarial example of that size, {drawn_from}; bars are 95 % "
                "Clopper–Pearson intervals.",
                drawn,
                table,
            )
        ],
        notes=[
            f"Every point is an upper bound. At eps it is the verdict on these samples, after all routes; at other "
            f"radii {attacks} ({run.attacks}) attacked, and whatever the verification found of that size counts too, "
            "so those points may lie a little too high. A sample broken at one radius is broken at all larger ones.",
        ],
    )
