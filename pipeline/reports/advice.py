"""Remediation advice for a red gate: one or two sentences that name a key or a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..figures.table import find_figure
from ..results.report import Report

_QUANTIZATION = "so quantization costs it: try `recover: {epochs: 10}`, or a scale per channel (`quantize`)."
_TRAINING = "so it was lost before quantization: look at what changed in `teacher`, `distill` or the data."


def what_to_do(gate: Mapping[str, Any], report: Report) -> str:
    """Return what to do about a gate that failed or was not decided.

    Args:
        gate: the report's entry of the gate.
        report: all that was measured.
    """
    if gate["outcome"] == "inconclusive":
        return _undecided(gate)
    figure = find_figure(str(gate["name"]))
    then = "" if figure is None else _where_it_went(gate, report) if figure.traced else figure.advice
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
