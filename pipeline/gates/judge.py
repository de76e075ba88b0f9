"""Verdict on a report's gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...stages.statistics.holm import holm
from ...stages.statistics.proportions import clopper_pearson
from ...stages.statistics.sample_size import ERROR
from ..figures.base import Figure, Interval
from ..figures.table import figure_named
from .absolute import decide
from .condition import Condition
from .pair import Pair
from .relative import NotComparable, compare
from .result import NO_GATE, Comparison, GateResult, Outcome, Verdict


def judge(
    conditions: Sequence[Condition],
    subjects: Sequence[Mapping[str, Any]],
    doubts: Iterable[str] = (),
    missing: Iterable[str] = (),
    against: Pair | None = None,
    bindings: Sequence[GateResult] = (),
) -> Verdict:
    """Decide every gate by the worst engine, and the verdict by every gate.

    A run whose attack found itself unreliable, or a target of which is missing, never passes. A gate against a baseline
    fails where a regression beyond its limit is shown, with a chance of at most 5 % that any such gate of the verdict
    fails though nothing regressed (Holm over all gates and engines). It passes where none is shown and, for every
    engine, one that is larger by the gate's resolution is excluded, with a chance of at most 5 % that such a one passes
    (each gate must exclude its own, so that nothing has to be corrected: Berger, Technometrics 24:295-300, 1982).
    Elsewhere it is inconclusive. Without a gate there is nothing to pass: such a run is measured.

    Args:
        conditions: the gates.
        subjects: the report's subjects; only engines count.
        doubts: findings that make the verdict inconclusive.
        missing: targets that could not be built or attacked, with the reason.
        against: the run beside its baseline; without one no relative gate is decided.
        bindings: of the gates to what the run must have been, as of `bindings`; one that failed fails the verdict.
    """
    engines = [subject for subject in subjects if subject["kind"] == "engine"]
    gone = tuple(missing)
    compared = _compared(conditions, [str(engine["name"]) for engine in engines], against)
    decided = tuple(
        _unless_missing(
            _decide_relative(condition, engines, compared[place], against)
            if condition.relative
            else decide(condition, engines),
            gone,
        )
        for place, condition in enumerate(conditions)
    )
    gates = (*bindings, *decided)
    about = None if against is None else against.about
    failed = [gate for gate in gates if gate.outcome == "fail"]
    if failed:
        return Verdict("fail", gates, tuple(f"{gate.name}: {gate.reason}" for gate in failed), about)
    open_gates = tuple(f"{gate.name}: {gate.reason}" for gate in gates if gate.outcome == "inconclusive")
    reasons = (*gone, *tuple(doubts), *open_gates)
    if reasons:
        return Verdict("inconclusive", gates, reasons, about)
    return Verdict("pass", gates, (), about) if decided else Verdict("measured", gates, (NO_GATE,), about)


@dataclass(frozen=True)
class _Compared:
    """The engines of one relative gate: those that were compared, and why the others were not."""

    found: tuple[Comparison, ...] = ()
    not_comparable: tuple[str, ...] = ()


def _compared(conditions: Sequence[Condition], engines: Sequence[str], against: Pair | None) -> list[_Compared]:
    """Compare all engines by all relative gates, their p-values corrected together."""
    every: list[_Compared] = []
    for condition in conditions:
        found: list[Comparison] = []
        reasons: list[str] = []
        for name in engines if against is not None and condition.relative else ():
            assert against is not None
            try:
                found.append(compare(condition, name, against))
            except NotComparable as error:
                reasons.append(str(error))
        every.append(_Compared(tuple(found), tuple(dict.fromkeys(reasons))))
    adjusted = iter(holm([each.p for gate in every for each in gate.found if each.p is not None]))
    return [
        replace(
            gate,
            found=tuple(each if each.p is None else replace(each, p_adjusted=next(adjusted)) for each in gate.found),
        )
        for gate in every
    ]


def _decide_relative(
    condition: Condition, engines: Sequence[Mapping[str, Any]], compared: _Compared, against: Pair | None
) -> GateResult:
    figure = figure_named(condition.figure)
    if against is None:
        return GateResult(
            condition.figure,
            condition.text,
            None,
            None,
            "inconclusive",
            "is held against a baseline by `edgeproof gate RUN --baseline FILE`",
        )
    reasons = [
        *compared.not_comparable,
        *(f"{name}, which the baseline has, is not in the run" for name in against.gone),
    ]
    if not engines:
        reasons.append(f"no engine has a {condition.figure}")
    outcomes = [(_outcome(condition, each, against), each) for each in compared.found]
    if not outcomes:
        return GateResult(condition.figure, condition.text, None, None, "inconclusive", "; ".join(reasons))
    (outcome, reason), worst = max(outcomes, key=lambda pair: _badness(pair[0][0], pair[1], figure.falls))
    if outcome == "pass" and reasons:
        outcome, reason = "inconclusive", "; ".join(reasons)
    subject = next(engine for engine in engines if engine["name"] == worst.subject)
    return GateResult(
        condition.figure,
        condition.text,
        worst.value,
        _interval(figure, subject, worst),
        outcome,
        reason,
        worst.subject,
        worst.samples_needed if outcome == "inconclusive" and not worst.doubt else None,
        worst,
    )


def _interval(figure: Figure, engine: Mapping[str, Any], found: Comparison) -> Interval | None:
    """The interval of a figure on the samples that it is of: of fewer than all where the baseline has not all of them.

    None of what only some samples are of and whose interval is more than their count.
    """
    if found.samples is None or found.samples == engine.get("samples"):
        return figure.interval(engine)
    if figure.kind != "share" or "sequential" in engine:
        return None
    return clopper_pearson(round(found.value * found.samples), found.samples)


def _outcome(condition: Condition, found: Comparison, against: Pair) -> tuple[Outcome, str]:
    """What follows for one engine, and why."""
    ratio = figure_named(condition.figure).kind == "ratio"
    if found.doubt:
        return "inconclusive", f"{found.sentence}; {found.doubt}"
    if found.worse if found.p_adjusted is None else found.p_adjusted <= ERROR:
        if ratio and not against.same_processor:
            return "inconclusive", f"{found.sentence}, on another processor than the baseline's"
        sure = "" if found.p_adjusted is None else f" (p = {found.p_adjusted:.2g})"
        return "fail", f"{found.sentence}; allowed: {condition.text}{sure}"
    if found.excluded:
        return "pass", found.sentence
    return "inconclusive", f"{found.sentence}; {_open(condition, found, ratio=ratio)}"


def _open(condition: Condition, found: Comparison, *, ratio: bool) -> str:
    """What is not excluded, and what would decide it."""
    if ratio:
        most = condition.limit if condition.relation == "*" else 1.0
        return f"{most * (1 + condition.finest):.3g} times is not excluded; more repeats would decide"
    needed = "more samples" if found.samples_needed is None else f"about {found.samples_needed} samples"
    return f"a loss of {100 * (condition.limit + condition.finest):g} points is not excluded; {needed} would decide"


def _badness(outcome: Outcome, found: Comparison, falls: bool) -> tuple[int, float]:
    return ("pass", "inconclusive", "fail").index(outcome), -found.difference if falls else found.difference


def _unless_missing(gate: GateResult, missing: Sequence[str]) -> GateResult:
    if gate.outcome != "pass" or not missing:
        return gate
    return replace(gate, outcome="inconclusive", reason="a target is missing")
