"""Gates: conditions on the report's figures, and the one verdict that follows from them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..targets.errors import UsageError
from ..targets.registry import nearest

Outcome = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 4}

# A proportion whose 95 % interval is wider than this says too little to decide a gate by.
WIDEST_INTERVAL = 0.2

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
CORRUPTED = "corrupted_accuracy"
# Figure name to the key of its interval in a subject; None where the figure is not a sample's.
FIGURES: dict[str, str | None] = {
    "clean_accuracy": "clean_accuracy_ci",
    "robust_accuracy": "robust_accuracy_ci",
    "robust_accuracy_8bit": "robust_accuracy_8bit_ci",
    "retention": "retention_ci",
    CORRUPTED: "corrupted_accuracy_ci",
    "size_bytes": None,
}


@dataclass(frozen=True)
class Condition:
    """One gate: a figure of the engines and its limit."""

    figure: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, figure: str, text: str) -> Condition:
        """Read `">= 0.95"`.

        Raises:
            UsageError: an unknown figure, or a limit that is no comparison with a number.
        """
        if figure not in FIGURES:
            raise UsageError(f"unknown figure {figure!r}{nearest(figure, FIGURES)} (known: {', '.join(FIGURES)})")
        match = re.fullmatch(r"\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*", str(text))
        try:
            if match is None:
                raise ValueError
            limit = float(match[2])
        except ValueError:
            raise UsageError(f"{figure}: a limit is a comparison such as '>= 0.95', got {text!r}") from None
        return cls(figure, match[1], limit)

    @classmethod
    def parse_line(cls, text: str) -> Condition:
        """Read `"robust_accuracy >= 0.75"`."""
        match = re.match(r"\s*([A-Za-z_]\w*)\s*(.*)", text)
        if match is None:
            raise UsageError(f"a gate is a figure and a limit such as 'retention >= 0.97', got {text!r}")
        return cls.parse(match[1], match[2])

    @property
    def text(self) -> str:
        """The limit as it is written: `>= 0.95`."""
        return f"{self.comparison} {self.limit:g}"

    def holds(self, value: float) -> bool:
        """Whether a value meets the limit."""
        return _OPERATORS[self.comparison](value, self.limit)


@dataclass(frozen=True)
class GateResult:
    """How one gate came out, and why."""

    name: str
    limit: str
    value: float | None
    ci: tuple[float, float] | None
    outcome: Outcome
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The entry of `report.json`."""
        return {
            "name": self.name,
            "limit": self.limit,
            "value": self.value,
            "ci": list(self.ci) if self.ci else None,
            "outcome": self.outcome,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Verdict:
    """The one object that text, JSON and exit code come from."""

    outcome: Outcome
    gates: tuple[GateResult, ...]
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 4 inconclusive."""
        return EXIT_CODES[self.outcome]


def judge(
    conditions: Sequence[Condition],
    subjects: Sequence[Mapping[str, Any]],
    doubts: Iterable[str] = (),
    missing: Iterable[str] = (),
) -> Verdict:
    """Decide every gate by the worst engine, and the verdict by every gate.

    A gate that misses its limit fails. One that meets it passes, unless its interval is too wide to say
    anything; a run whose attack found itself unreliable, or a target of which is missing, never passes.

    Args:
        conditions: the gates.
        subjects: the report's subjects; only engines count.
        doubts: findings that make the verdict inconclusive.
        missing: targets that could not be built or attacked, with the reason.
    """
    engines = [subject for subject in subjects if subject["kind"] == "engine"]
    gone = tuple(missing)
    gates = tuple(_decide(condition, engines, gone) for condition in conditions)
    failed = [gate for gate in gates if gate.outcome == "fail"]
    if failed:
        return Verdict("fail", gates, tuple(f"{gate.name}: {gate.reason}" for gate in failed))
    open_gates = tuple(f"{gate.name}: {gate.reason}" for gate in gates if gate.outcome == "inconclusive")
    reasons = (*gone, *tuple(doubts), *open_gates)
    return Verdict("inconclusive" if reasons else "pass", gates, reasons)


def _decide(condition: Condition, engines: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> GateResult:
    known = [engine for engine in engines if engine.get(condition.figure) is not None]
    if not known:
        reason = f"no engine has a {condition.figure}"
        return GateResult(condition.figure, condition.text, None, None, "inconclusive", reason)
    lowest = condition.comparison.startswith(">")
    worst = (min if lowest else max)(known, key=lambda engine: engine[condition.figure])
    value, key = float(worst[condition.figure]), FIGURES[condition.figure]
    interval = worst.get(key) if key else None
    ci = (float(interval[0]), float(interval[1])) if interval else None
    sequential = worst.get("sequential") if ci else None
    if sequential and ci:
        outcome, reason = _sequential_outcome(condition, ci, worst["samples"], sequential)
    else:
        outcome, reason = _outcome(condition, value, ci)
    if outcome == "pass" and missing:
        outcome, reason = "inconclusive", "a target is missing"
    return GateResult(condition.figure, condition.text, value, ci, outcome, reason)


def _outcome(condition: Condition, value: float, ci: tuple[float, float] | None) -> tuple[Outcome, str]:
    wide = ci is not None and ci[1] - ci[0] > WIDEST_INTERVAL
    if wide and ci is not None and condition.holds(ci[0]) != condition.holds(ci[1]):
        return "inconclusive", (
            f"too few samples: the 95 % interval [{ci[0]:.3f}, {ci[1]:.3f}] is wider than {WIDEST_INTERVAL:g} "
            f"and holds the limit {condition.text}"
        )
    if condition.holds(value):
        return "pass", ""
    return "fail", f"{value:.4g} misses {condition.text}"


def _sequential_outcome(
    condition: Condition, ci: tuple[float, float], samples: int, sequential: Mapping[str, Any]
) -> tuple[Outcome, str]:
    """Decide by the interval alone: that is what holds whenever a run stops."""
    if condition.holds(ci[0]) != condition.holds(ci[1]):
        return "inconclusive", (
            f"undecided after {samples} of {sequential['population']} samples: the interval "
            f"[{ci[0]:.3f}, {ci[1]:.3f}] holds the limit {condition.text}; more samples would tell"
        )
    if condition.holds(ci[0]):
        return "pass", ""
    return "fail", f"all of [{ci[0]:.3f}, {ci[1]:.3f}] misses {condition.text}"
