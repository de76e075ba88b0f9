"""Relative gates: an engine's figure held against the same engine's in a baseline."""

from __future__ import annotations

from dataclasses import replace
from math import exp, isfinite, log

import numpy as np

from ...core.reading.counted import counted
from ...stages.statistics.betting import difference_sequence, lost_beyond_anytime
from ...stages.statistics.mover import Change
from ...stages.statistics.paired import difference_interval, lost_beyond
from ...stages.statistics.retention_change import retention_change
from ...stages.statistics.sample_size import ERROR, samples_to_decide, samples_to_detect
from ..figures.base import ROBUST, Figure
from ..figures.table import figure_named
from .condition import Condition
from .pair import Pair
from .record import STUDENT, SubjectRecord
from .result import Comparison

# Of the intervals: each end errs as often as a gate may.
LEVEL = 1 - 2 * ERROR
# Of a ratio of latencies, and the inverse the smallest.
_LARGEST = 1e9


class NotComparable(Exception):
    """Why an engine's figure cannot be held against the baseline's, in a sentence."""


def compare(condition: Condition, name: str, pair: Pair) -> Comparison:
    """Compare one engine's figure with the baseline's.

    Args:
        condition: a relative one.
        name: the engine, which is in the run.
        pair: the run and the baseline.

    Raises:
        NotComparable: the baseline has no such engine or figure, or the two have no sample in common.
    """
    figure = figure_named(condition.figure)
    before, after = pair.baseline.subjects.get(name), pair.run.subjects[name]
    if before is None or before.kind != "engine":
        raise NotComparable(f"{name} is not in the baseline")
    kinds = {
        "share": _shares,
        "retention": _retentions,
        "mean": _means,
        "ratio": _ratios,
        "number": _numbers,
    }
    found = kinds[figure.kind](condition, figure, before, after, pair)
    doubts = pair.doubts_on(figure, before, after)
    return replace(found, doubt="; ".join(doubts)) if doubts else found


def _shares(
    condition: Condition, figure: Figure, before: SubjectRecord, after: SubjectRecord, pair: Pair
) -> Comparison:
    rows = _common([before, after])
    first, second = _column(figure, before), _column(figure, after)
    first, second = first[np.isin(before.rows, rows)], second[np.isin(after.rows, rows)]
    samples, lost, gained = len(rows), int((first & ~second).sum()), int((~first & second).sum())
    margin, finest = condition.limit, condition.finest
    if before.sequential or after.sequential:
        if before.sequential and after.sequential and pair.run.seed != pair.baseline.seed:
            raise NotComparable(
                "both runs ended as soon as their gates were decided, on samples in other orders; "
                "no test is known to hold for what they have in common"
            )
        interval = difference_sequence(lost, gained, samples, ERROR)
        p, test = lost_beyond_anytime(lost, gained, samples, margin), "betting, valid at any stop"
    else:
        interval = difference_interval(lost, gained, samples, LEVEL)
        p, test = lost_beyond(lost, gained, samples, margin), "exact McNemar" if margin == 0 else "Tango's score"
    difference = (gained - lost) / samples
    return Comparison(
        subject=after.name,
        value=float(second.mean()),
        baseline=float(first.mean()),
        difference=difference,
        interval=interval,
        level=LEVEL,
        worse=-difference > margin,
        excluded=-interval[0] < margin + finest,
        sentence=_sentence(figure, difference, interval)
        + f": {counted(lost, 'sample')} lost, {gained} gained of {samples}"
        if lost or gained
        else f"{figure.words} is the baseline's on each of {samples} samples",
        samples=samples,
        lost=lost,
        gained=gained,
        p=p,
        test=test,
        samples_needed=samples_to_decide(lost, gained, samples, margin, finest),
    )


def _retentions(
    condition: Condition, figure: Figure, before: SubjectRecord, after: SubjectRecord, pair: Pair
) -> Comparison:
    students = pair.baseline.subjects.get(STUDENT), pair.run.subjects.get(STUDENT)
    if students[0] is None or students[1] is None:
        raise NotComparable("one of the two runs has no student, of which an engine retains something")
    if before.sequential or after.sequential:
        raise NotComparable("a run that ended as soon as its gates were decided tells no difference of retentions")
    four = (students[0], before, students[1], after)
    rows = _common(four)
    bits = [each.bits[ROBUST][np.isin(each.rows, rows)] for each in four]
    change = retention_change(*bits)
    if change is None:
        raise NotComparable("a student keeps no sample, so that there is nothing to retain")
    margin, finest, interval = condition.limit, condition.finest, change.interval(LEVEL)
    distance = max(abs(-change.centre - margin), abs(margin + finest + change.centre))
    spread = change.error**2 * change.samples
    return Comparison(
        subject=after.name,
        value=float(bits[3].sum() / bits[2].sum()),
        baseline=float(bits[1].sum() / bits[0].sum()),
        difference=change.difference,
        interval=interval,
        level=LEVEL,
        worse=-change.difference > margin,
        excluded=-interval[0] < margin + finest,
        sentence=f"{_sentence(figure, change.difference, interval)} on {counted(change.samples, 'sample')}",
        samples=change.samples,
        p=change.p_lost(margin),
        test="delta method",
        samples_needed=samples_to_detect(distance, max(spread, distance)),
    )


def _means(condition: Condition, figure: Figure, before: SubjectRecord, after: SubjectRecord, _: Pair) -> Comparison:
    (first, first_ci), (second, second_ci) = _estimates(figure, before, after)
    change = Change.between(first, first_ci, second, second_ci)
    margin, interval = condition.limit, change.interval(LEVEL)
    return Comparison(
        subject=after.name,
        value=second,
        baseline=first,
        difference=change.difference,
        interval=interval,
        level=LEVEL,
        worse=-change.difference > margin,
        excluded=-interval[0] < margin + condition.finest,
        sentence=_sentence(figure, change.difference, interval),
        p=change.p_below(-margin),
        test="both intervals (MOVER)",
    )


def _ratios(condition: Condition, figure: Figure, before: SubjectRecord, after: SubjectRecord, _: Pair) -> Comparison:
    (first, first_ci), (second, second_ci) = _estimates(figure, before, after)
    (low, high), (low2, high2) = first_ci, second_ci
    change = Change.between(log(first), (log(low), log(high)), log(second), (log(low2), log(high2)))
    most = 1.0 if condition.relation != "*" else condition.limit
    down, up = change.interval(LEVEL)
    interval, ratio = (exp(down), exp(up)), second / first
    return Comparison(
        subject=after.name,
        value=second,
        baseline=first,
        difference=ratio,
        interval=interval,
        level=LEVEL,
        worse=ratio > most,
        excluded=interval[1] < most * (1 + condition.finest),
        sentence=f"{figure.words} over the float engine's is {ratio:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] times "
        f"the baseline's ({second:.3g} against {first:.3g})",
        p=change.p_above(log(most)),
        test="both intervals (MOVER), logarithms",
    )


def _numbers(condition: Condition, figure: Figure, before: SubjectRecord, after: SubjectRecord, _: Pair) -> Comparison:
    first, second = (_figure(figure, each)[0] for each in (before, after))
    return Comparison(
        subject=after.name,
        value=second,
        baseline=first,
        difference=second - first,
        interval=None,
        level=LEVEL,
        worse=not condition.holds(second, first),
        excluded=True,
        sentence=f"{figure.words} is {second:.6g}, the baseline's {first:.6g}",
    )


def _figure(figure: Figure, record: SubjectRecord) -> tuple[float, tuple[float, float] | None]:
    if figure.name not in record.figures:
        raise NotComparable(f"one of the two runs has no {figure.name} of {record.name}")
    return record.figures[figure.name]


def _estimates(figure: Figure, before: SubjectRecord, after: SubjectRecord) -> list[tuple[float, tuple[float, float]]]:
    found: list[tuple[float, tuple[float, float]]] = []
    for record in (before, after):
        value, interval = _figure(figure, record)
        if interval is None or not all(map(isfinite, (value, *interval))):
            raise NotComparable(f"one of the two runs has no interval of the {figure.name} of {record.name}")
        if figure.kind == "ratio" and min(value, *interval) <= 0:
            raise NotComparable(f"one of the two runs has a {figure.name} of {record.name} that is not above 0")
        if figure.kind == "ratio" and not all(1 / _LARGEST <= each <= _LARGEST for each in (value, *interval)):
            raise NotComparable(f"one of the two runs has a {figure.name} of {record.name} that nothing measures")
        found.append((value, interval))
    return found


def _column(figure: Figure, record: SubjectRecord) -> np.ndarray:
    bits = figure.bits(record.bits)
    if bits is None:
        raise NotComparable(f"one of the two runs has no {figure.name} of {record.name}")
    return bits


def _common(records: tuple[SubjectRecord, ...] | list[SubjectRecord]) -> np.ndarray:
    """The rows that all have; rows and bits are ascending in each."""
    rows = records[0].rows
    for record in records[1:]:
        rows = np.intersect1d(rows, record.rows, assume_unique=True)
    if not len(rows):
        raise NotComparable("the two runs have no sample in common; verify the same ones (samples and seed)")
    return rows


def _sentence(figure: Figure, difference: float, interval: tuple[float, float]) -> str:
    """How many points were lost or gained, with the interval of that number."""
    low, high = interval if difference >= 0 else (-interval[1], -interval[0])
    verb = "gained" if difference >= 0 else "lost"
    points = f"{100 * abs(difference):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{figure.words} {verb} {points} against the baseline"
