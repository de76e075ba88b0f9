"""Absolute gates, whose limit is a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from ...stages.statistics.proportions import samples_for_width
from ..figures.base import Figure, Interval, Subject
from ..figures.table import figure_named
from .condition import Condition
from .result import GateResult, Outcome, value_text

# A proportion whose 95 % interval is wider than this says too little to decide a gate by.
WIDEST_INTERVAL = 0.2

_Decision = tuple[Outcome, str, int | None]


def decide(condition: Condition, engines: Sequence[Subject]) -> GateResult:
    """Decide a gate by the worst engine.

    A share that misses its limit fails. One that meets it passes, unless its interval is too wide to say anything; a
    latency ratio is decided by its interval, where it has one.
    """
    figure = figure_named(condition.figure)
    known = [(value, engine) for engine in engines if (value := figure.value(engine)) is not None]
    if not known:
        reason = f"no engine has a {condition.figure}"
        return GateResult(condition.figure, condition.text, None, None, "inconclusive", reason)
    lowest = condition.comparison.startswith(">")
    value, worst = (min if lowest else max)(known, key=lambda pair: pair[0])
    ci = figure.interval(worst)
    sequential = worst.get("sequential") if ci else None
    if sequential and ci:
        outcome, reason, needed = _by_sequence(condition, ci, worst["samples"], sequential)
    elif figure.kind == "ratio" and ci:
        outcome, reason, needed = _by_ratio(condition, ci)
    else:
        outcome, reason, needed = _by_value(condition, value, ci, figure, worst)
    return GateResult(condition.figure, condition.text, value, ci, outcome, reason, worst["name"], needed)


def _by_value(condition: Condition, value: float, ci: Interval | None, figure: Figure, engine: Subject) -> _Decision:
    if ci is not None and ci[1] - ci[0] > WIDEST_INTERVAL and condition.holds(ci[0]) != condition.holds(ci[1]):
        needed = _samples_needed(value, ci, figure, engine)
        reason = (
            f"too few samples: the 95 % interval [{ci[0]:.3f}, {ci[1]:.3f}] is wider than {WIDEST_INTERVAL:g} "
            f"and holds the limit {condition.text}"
        )
        return "inconclusive", reason + ("" if needed is None else f"; about {needed} samples would decide"), needed
    if condition.holds(value):
        return "pass", "", None
    return "fail", f"{value_text(value)} misses {condition.text}", None


def _samples_needed(value: float, ci: Interval, figure: Figure, engine: Subject) -> int | None:
    """How many samples make the interval narrow enough, if the figure stays where it is."""
    samples = engine.get("samples")
    if samples is None:
        return None
    if figure.kind == "retention":  # its interval shrinks with the square root
        return ceil(samples * ((ci[1] - ci[0]) / WIDEST_INTERVAL) ** 2)
    return samples_for_width(min(max(value, 0.0), 1.0), WIDEST_INTERVAL)


def _by_ratio(condition: Condition, ci: Interval) -> _Decision:
    within = [condition.holds(end) for end in ci]
    if all(within):
        return "pass", "", None
    if any(within):
        reason = f"the interval [{ci[0]:.3g}, {ci[1]:.3g}] holds the limit {condition.text}; more repeats would tell"
        return "inconclusive", reason, None
    return "fail", f"all of [{ci[0]:.3g}, {ci[1]:.3g}] misses {condition.text}", None


def _by_sequence(condition: Condition, ci: Interval, samples: int, sequential: Mapping[str, Any]) -> _Decision:
    """Decide by the interval alone: that is what holds whenever a run stops."""
    if condition.holds(ci[0]) != condition.holds(ci[1]):
        reason = (
            f"undecided after {samples} of {sequential['population']} samples: the interval "
            f"[{ci[0]:.3f}, {ci[1]:.3f}] holds the limit {condition.text}; more samples would tell"
        )
        return "inconclusive", reason, None
    if condition.holds(ci[0]):
        return "pass", "", None
    return "fail", f"all of [{ci[0]:.3f}, {ci[1]:.3f}] misses {condition.text}", None
