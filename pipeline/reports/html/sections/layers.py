"""Layer sensitivity and the candidates, where a precision was chosen layer by layer."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from ..blocks import Plot, Section, Table, number
from ..draw import Point, bars, plane
from ..run import RunView
from .speed import front

ASSIGNMENT = "assignment.json"
_DRAWN = 60


def layers_section(run: RunView) -> Section | None:
    """What each layer costs when it alone is quantized; None where nothing was chosen."""
    found = [(PurePosixPath(path).parent.name, run.files.json(path)) for path in run.files.named(ASSIGNMENT)]
    records = [(name, record) for name, record in found if isinstance(record, dict)]
    if not records:
        return None
    return Section(
        name="layers",
        title="Layer by layer",
        lead=[
            f"{name}: of {len(record['candidates'])} assignments {record['chosen']} was chosen, on {record['samples']} "
            f"images of the {record['split']} split."
            for name, record in records
        ],
        plots=[plot for name, record in records for plot in (_sensitivity(name, record), _candidates(name, record))],
        notes=[
            "Robust margin: how far the true class leads on fixed adversarial points of the float model. Figures of "
            "the validation split only compare assignments; they prove nothing beside those of the test images."
        ],
    )


def _chosen(record: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in record["candidates"] if each["name"] == record["chosen"])


def _sensitivity(name: str, record: dict[str, Any]) -> Plot:
    kept = set(_chosen(record)["in_float"])
    layers = record["sensitivity"]
    order = sorted(range(len(layers)), key=lambda place: -layers[place]["margin_drop"])[:_DRAWN]
    shown = [layers[place] for place in sorted(order)]
    drawn = bars(
        f"layers-{name}-plot",
        f"Robust margin lost by each layer, {name}",
        [(each["layer"], 100 * each["margin_drop"], 2 if each["layer"] in kept else 1) for each in shown],
        "robust margin lost when it alone is quantized, %",
        {"quantized": 1, "stays in float": 2},
    )
    few = f", the {_DRAWN} most sensitive of {len(layers)}" if len(layers) > _DRAWN else ""
    table = Table(
        f"layers-{name}",
        f"What quantizing each layer alone costs, {name}",
        ("layer", "operator", "margin lost, %", "points flipped, %", "weights", "precision"),
        [
            (
                each["layer"],
                each["op_type"],
                number(100 * each["margin_drop"], 2),
                number(100 * each["flipped"], 2),
                str(each["weights"]),
                "float" if each["layer"] in kept else "int8",
            )
            for each in layers
        ],
        (
            ("layer", "operator", "margin_drop", "flipped", "weights", "in_float"),
            [
                (
                    *(each[key] for key in ("layer", "op_type", "margin_drop", "flipped", "weights")),
                    each["layer"] in kept,
                )
                for each in layers
            ],
        ),
        folded=True,
    )
    return Plot(
        f"layers-{name}-plot",
        f"{name}: what each layer costs when it alone is quantized, in per cent of the float model's margin{few}.",
        drawn,
        table,
    )


def _candidates(name: str, record: dict[str, Any]) -> Plot:
    candidates = record["candidates"]
    points = [
        (_short(each), each["latency_ms"], Point(each["robust_accuracy"], None, 1 + (each["name"] == record["chosen"])))
        for each in candidates
    ]
    title = f"Candidates on the validation split, {name}"
    table = Table(
        f"candidates-{name}",
        title,
        ("assignment", "in float", "clean", "robust", "retention", "latency, ms", "size, KiB", "chosen"),
        [
            (
                each["name"],
                str(len(each["in_float"])),
                number(each["clean_accuracy"]),
                number(each["robust_accuracy"]),
                number(each["retention"]),
                number(each["latency_ms"]),
                f"{each['size_bytes'] / 1024:.1f}",
                "yes" if each["name"] == record["chosen"] else "",
            )
            for each in candidates
        ],
        folded=True,
    )
    best = front([(x, point.value) for _, x, point in points])
    limit = record["limits"].get("robust_accuracy")
    drawn = plane(
        f"candidates-{name}-plot",
        title,
        points,
        "median latency, ms",
        "robust accuracy (PGD, validation)",
        front=best,
        limit=limit,
    )
    caption = f"{title}; the chosen one is the diamond, and labels say how many layers stay in float."
    return Plot(f"candidates-{name}-plot", caption, drawn, table)


def _short(candidate: dict[str, Any]) -> str:
    base, _, rest = str(candidate["name"]).partition(" but ")
    return rest.split()[0] if rest else ("none" if not candidate["in_float"] else base)
