"""Accuracies, retention and intervals recomputed from per-sample bits, and held against those that a report states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

import numpy as np

from ...stages.statistics.estimate import Estimate
from ...stages.statistics.paired import compare_paired
from ...stages.statistics.proportions import retention, retention_interval
from ...stages.verify.shards.sequential import confidence_sequence
from ..store.sample_bits import NO_ROUTE

# What becomes of a float that was written as text, and of another version's sum.
_ROUNDING = 1e-9

Columns = Mapping[str, np.ndarray]


def disagreements(subject: Mapping[str, Any], columns: Columns, student: Columns | None) -> Iterator[str]:
    """What a report states of a subject and its bits do not give, a sentence each.

    Args:
        subject: the report's entry.
        columns: its bits, as `read_columns` returns them.
        student: those of the float student; None where there is none, or it was asked other samples.
    """
    if not len(columns["index"]):
        yield "no samples"
        return
    yield from _not_cumulative(columns)
    for key, value in _figures(subject, columns, student).items():
        if key in subject and not _same(subject[key], value):
            yield f"its {key} is {_text(value)}, the report says {_text(subject[key])}"


def _not_cumulative(columns: Columns) -> Iterator[str]:
    """A route takes samples away and gives none back; what it leaves was right to begin with."""
    before, left = "clean_correct", columns["clean_correct"]
    for name in (key for key in columns if key not in NO_ROUTE):
        if (columns[name] & ~left).any():
            yield f"its column {name} has samples that {before} has not"
        before, left = name, columns[name]


def _figures(subject: Mapping[str, Any], columns: Columns, student: Columns | None) -> dict[str, Any]:
    samples, robust = len(columns["index"]), _robust(columns)
    bits = {"clean_accuracy": columns["clean_correct"], "robust_accuracy": robust}
    if "robust_8bit" in columns:
        bits["robust_accuracy_8bit"] = columns["robust_8bit"]
    found: dict[str, Any] = {"samples": samples}
    for name, column in bits.items():
        found |= Estimate.of_share(int(column.sum()), samples).as_json(name)
    if "sequential" in subject:
        found |= _by_sequence(subject, bits)
    found["routes"] = {name: float(column.mean()) for name, column in columns.items() if name not in NO_ROUTE}
    if student is not None:
        kept = _robust(student)
        ends = retention_interval(kept, robust)
        found |= {"retention": retention(kept, robust), "retention_ci": None if ends is None else list(ends)}
        found["against_student"] = compare_paired(kept, robust).as_json()
    return found


def _by_sequence(subject: Mapping[str, Any], bits: Columns) -> dict[str, Any]:
    """Of a run that stopped early only the accuracies that had gates have an interval; they share its error."""
    about = subject["sequential"]
    decided = [name for name in bits if subject.get(f"{name}_ci") is not None]
    intervals: dict[str, Any] = {f"{name}_ci": None for name in bits}
    for name in decided:
        drawn = len(bits[name])
        ends = confidence_sequence(int(bits[name].sum()), drawn, about["population"], about["error"] / len(decided))
        intervals[f"{name}_ci"] = list(ends)
    return intervals


def _robust(columns: Columns) -> np.ndarray:
    routes = [key for key in columns if key not in NO_ROUTE]
    return columns[routes[-1] if routes else "clean_correct"]


def _same(told: Any, found: Any) -> bool:
    if isinstance(found, Mapping):
        return isinstance(told, Mapping) and {*told} == {*found} and all(_same(told[key], found[key]) for key in found)
    if isinstance(found, list):
        return isinstance(told, list) and len(told) == len(found) and all(map(_same, told, found))
    if found is None or told is None:
        return found is told
    number = isinstance(told, (int, float)) and not isinstance(told, bool)
    return number and isclose(told, found, rel_tol=0, abs_tol=_ROUNDING)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
