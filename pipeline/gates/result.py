"""Gate results: what text, JSON and exit codes are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["pass", "fail", "inconclusive"]
# Of a run: one that no gate was asked of is measured, which is no pass.
RunOutcome = Literal[Outcome, "measured"]
EXIT_CODES: dict[RunOutcome, int] = {"pass": 0, "measured": 0, "fail": 1, "inconclusive": 4}
# What stops a merge.
STOPPING: tuple[RunOutcome, ...] = ("fail", "inconclusive")
NO_GATE = "no gate was asked for"


@dataclass(frozen=True)
class Comparison:
    """An engine's figure against the same engine's in the baseline.

    Attributes:
        subject: the engine.
        value: its figure, over the common samples where it is a share of them.
        baseline: the baseline's, likewise.
        difference: value - baseline; of a latency ratio, value / baseline.
        interval: of the difference, two-sided at `level`, so that each end errs with a chance of (1 - level) / 2; None
            where the figure is no estimate.
        level: of the interval.
        samples: how many both answered; None where the figure is not of samples.
        lost: how many only the baseline gets right; None where there are no bits.
        gained: how many only this engine gets right.
        p: one-sided, that the figure is worse than the limit allows; None where it is no estimate.
        p_adjusted: the same after Holm's correction for all engines and relative gates of the verdict.
        test: what `p` is of.
        worse: whether the figure itself, without regard to chance, misses the limit.
        excluded: whether the interval excludes a regression of the gate's resolution beyond the limit.
        samples_needed: about how many samples would decide it; None where more samples are not what is missing.
        sentence: the change in words.
        doubt: why neither pass nor fail may follow from it, such as attacks of another version; empty if nothing is.
    """

    subject: str
    value: float
    baseline: float
    difference: float
    interval: tuple[float, float] | None
    level: float
    worse: bool
    excluded: bool
    sentence: str
    samples: int | None = None
    lost: int | None = None
    gained: int | None = None
    p: float | None = None
    p_adjusted: float | None = None
    test: str = ""
    samples_needed: int | None = None
    doubt: str = ""

    def as_json(self) -> dict[str, Any]:
        """The part `against_baseline` of a gate's entry in `report.json`."""
        return {
            "value": self.value,
            "baseline": self.baseline,
            "difference": self.difference,
            "ci": list(self.interval) if self.interval else None,
            "level": self.level,
            "samples": self.samples,
            "lost": self.lost,
            "gained": self.gained,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "test": self.test,
        }


@dataclass(frozen=True)
class GateResult:
    """How one gate came out, and why.

    Attributes:
        name: the figure.
        limit: as it is written.
        value: the figure of the engine that decided.
        ci: its 95 % interval; None where it has none.
        outcome: of the gate.
        reason: why, in a sentence; empty for an absolute gate that passes.
        subject: the engine that decided, the worst one; None where no engine has the figure.
        samples_needed: about how many samples would decide an inconclusive gate; None where more would not, or where
            it is decided.
        comparison: that engine against the baseline; None for an absolute gate.
    """

    name: str
    limit: str
    value: float | None
    ci: tuple[float, float] | None
    outcome: Outcome
    reason: str = ""
    subject: str | None = None
    samples_needed: int | None = None
    comparison: Comparison | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry of `report.json`."""
        return {
            "name": self.name,
            "limit": self.limit,
            "value": self.value,
            "ci": list(self.ci) if self.ci else None,
            "outcome": self.outcome,
            "reason": self.reason,
            "subject": self.subject,
            "samples_needed": self.samples_needed,
            "against_baseline": None if self.comparison is None else self.comparison.as_json(),
        }


def value_text(value: float) -> str:
    """A figure's value as people write it: a share to four places, `0.8700`, a count as it is, `13741`."""
    return f"{value:.0f}" if abs(value) >= 100 or (value > 1 and float(value).is_integer()) else f"{value:.4f}"


@dataclass(frozen=True)
class Verdict:
    """The one object that all outputs and the exit code come from.

    Attributes:
        outcome: of all gates together; `measured` where there is none.
        gates: each one.
        reasons: of the outcome; those of the failed gates alone where one failed, none of a pass.
        baseline: what is known of the baseline, for the report; None where nothing was held against one.
    """

    outcome: RunOutcome
    gates: tuple[GateResult, ...]
    reasons: tuple[str, ...]
    baseline: Mapping[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """0 pass or measured, 1 fail, 4 inconclusive."""
        return EXIT_CODES[self.outcome]
