"""What to do about a gate that is red: one or two sentences that name a key or a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..results.report import Report

_QUANTIZATION = "so quantization costs it: try `recover: {epochs: 10}`, or a scale per channel (`quantize`)."
_TRAINING = "so it was lost before quantization: look at what changed in `teacher`, `distill` or the data."
_ACCURACIES = ("robust_accuracy", "robust_accuracy_8bit")
_BY_FIGURE = {
    "clean_accuracy": "See what changed in training; `edgeproof compare A B --figure clean` lists what was lost.",
    "corrupted_accuracy": "See in the table of corruptions which one lost it.",
    "retention": f"The float student keeps more than the engine, {_QUANTIZATION}",
    "size_bytes": "Prune (`prune: {ratio: 0.3}`), or quantize to fewer bits.",
    "size_ratio": "Prune (`prune: {ratio: 0.3}`), or quantize to fewer bits.",
    "latency_ratio": "`edgeproof bench` times it beside others; `edgeproof lint` says what keeps operators in float.",
}
_BY_KIND = {
    "twin_agreement": "The gradients come from a twin that is not the engine: see the warnings for where they part.",
    "_agreement": "Later attacks broke what this one left: gradients are hidden, or the attack is too weak.",
}


def what_to_do(gate: Mapping[str, Any], report: Report) -> str:
    """Return what to do about a gate that failed or was not decided.

    Args:
        gate: the report's entry of the gate.
        report: all that was measured.
    """
    if gate["outcome"] == "inconclusive":
        return _undecided(gate)
    figure = str(gate["name"])
    if figure in _ACCURACIES:
        then = _where_it_went(gate, report)
    else:
        kinds = (text for part, text in _BY_KIND.items() if part in figure)
        then = _BY_FIGURE.get(figure) or next(kinds, "")
    if gate.get("against_baseline"):
        then = f"{then} If the change is meant, move the baseline: --update-baseline, and commit the file."
    return then.strip()


def _undecided(gate: Mapping[str, Any]) -> str:
    if gate.get("samples_needed"):
        return "Verify more samples (`verify.samples`, `--samples`); fewer decide nothing."
    if gate.get("against_baseline"):
        return (
            "Run and baseline must be attacked alike; where the attacks changed on purpose, make the baseline anew "
            "with --update-baseline."
        )
    if gate["value"] is None:
        return "Gate a figure that this run measured, or run it so that it is measured."
    return "See what is missing, and run again; an open gate stops a merge as a failed one does."


def _where_it_went(gate: Mapping[str, Any], report: Report) -> str:
    """Say by the float student's figure whether training or quantization lost it."""
    students = [each for each in report.subjects if each["kind"] == "torch" and each["name"] != "teacher"]
    value = students[-1].get(gate["name"]) if students else None
    if value is None or gate["value"] is None:
        return "`edgeproof compare A B` says which samples an earlier run kept, the routes which attack broke them."
    floor = _floor(gate)
    # Whichever step lost the larger part of what is missing.
    quantization = floor is None or floor - value < (floor - gate["value"]) / 2
    return f"The float student has {value:.3f}, {_QUANTIZATION if quantization else _TRAINING}"


def _floor(gate: Mapping[str, Any]) -> float | None:
    """What the figure should have been: the baseline's, or the limit."""
    if against := gate.get("against_baseline"):
        return float(against["baseline"])
    try:
        return float(str(gate["limit"]).lstrip("<>= "))
    except ValueError:
        return None
