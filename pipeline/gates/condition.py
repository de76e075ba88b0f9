"""Gate condition: a figure and its limit, a number or one that depends on a baseline."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from ...core.errors import UsageError
from ..figures.base import Figure
from ..figures.table import figure_named

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LIMIT = re.compile(
    r"\s*(?P<comparison>>=|<=|>|<)\s*"
    rf"(?:baseline(?:\s*(?P<sign>[-+*])\s*(?P<by>{_NUMBER}))?|(?P<number>[-+]?{_NUMBER}))"
    rf"(?:\s*,\s*resolution\s+(?P<resolution>{_NUMBER}))?\s*"
)
# How much more than the limit allows is never let through: points of a share, or a part of a latency ratio.
RESOLUTIONS = {"share": 0.03, "retention": 0.03, "mean": 0.03, "ratio": 0.1}
# How an estimate's limit against the baseline is written: comparison, relation, an example.
_SHARE_FORM = (">=", "-", ">= baseline - 0.03")
_FORMS = {
    "share": _SHARE_FORM,
    "retention": _SHARE_FORM,
    "mean": _SHARE_FORM,
    "ratio": ("<=", "*", "<= baseline * 1.1"),
}
_ROUNDING = 1e-12
_SHOWN = 60

Relation = Literal["-", "+", "*"]


@dataclass(frozen=True)
class Condition:
    """One gate: a figure of the engines and its limit.

    Attributes:
        figure: its name.
        comparison: `>=`, `>`, `<=` or `<`.
        limit: the number, or what the baseline's is moved by.
        relation: how the baseline's is moved: `-`, `+` or `*`; None where the limit is a number.
        resolution: of a relative gate on an estimate: how much more than the limit allows must never pass, above 0.
    """

    figure: str
    comparison: str
    limit: float
    relation: Relation | None = None
    resolution: float | None = None

    @classmethod
    def parse(cls, figure: str, text: str, routes: Iterable[str] | None = None) -> Condition:
        """Read `">= 0.95"`, `">= baseline - 0.03"`, `"<= baseline * 1.1"`, or any with `", resolution 0.02"` behind.

        Args:
            figure: the figure's name.
            text: the limit.
            routes: those that have a figure `<route>_agreement`; any, where it is not known which there are.

        Raises:
            UsageError: an unknown figure, or a limit that is no comparison with a number or the baseline, or that no
                share can have.
        """
        known = figure_named(figure, routes)
        match = _LIMIT.fullmatch(str(text))
        if match is None:
            raise UsageError(
                f"{figure}: a limit is a comparison such as '>= 0.95' or '>= baseline - 0.03', got {text!r}"
            )
        resolution = None if match["resolution"] is None else float(match["resolution"])
        written = [float(match[each]) for each in ("number", "by", "resolution") if match[each] is not None]
        if not all(map(isfinite, written)):
            raise UsageError(f"{figure}: a limit is a number that is computed with, got {text[:_SHOWN]!r}")
        if match["number"] is not None:
            if resolution is not None:
                raise UsageError(f"{figure}: a resolution is of a limit against the baseline, got {text!r}")
            # No run could ever decide it otherwise; most often per cent are meant.
            if known.kind in {"share", "mean"} and not 0 <= float(match["number"]) <= 1:
                raise UsageError(f"{figure}: is a share, its limit lies in [0, 1], got {text!r}")
            return cls(figure, match["comparison"], float(match["number"]))
        relation: Relation = "*" if match["sign"] == "*" else "+" if match["sign"] == "+" else "-"
        by = float(match["by"] or 0)
        return cls(figure, match["comparison"], by, relation, resolution)._checked(known, text)

    @classmethod
    def parse_line(cls, text: str, routes: Iterable[str] | None = None) -> Condition:
        """Read `"robust_accuracy >= 0.75"`; see `parse`."""
        match = re.match(r"\s*([A-Za-z_][\w-]*)\s*(.*)", text)
        if match is None:
            raise UsageError(f"a gate is a figure and a limit such as 'retention >= 0.97', got {text!r}")
        return cls.parse(match[1], match[2], routes)

    def _checked(self, figure: Figure, text: str) -> Condition:
        """Return itself where such a limit can be held against a baseline; estimates have one form each."""
        if figure.kind == "number":
            if self.resolution is not None:
                raise UsageError(f"{figure.name}: is no estimate and has no resolution, got {text!r}")
            return self
        comparison, relation, written = _FORMS[figure.kind]
        bare = self.limit == 0 and self.relation != "*"
        if self.comparison != comparison or not (bare or self.relation == relation):
            raise UsageError(f"{figure.name}: a limit against the baseline is written '{written}', got {text!r}")
        small = self.limit > 0 if self.relation == "*" else self.limit < 1
        if not small or (self.resolution is not None and not 0 < self.resolution < 1):
            raise UsageError(f"{figure.name}: margin and resolution are shares, the latter above 0, got {text!r}")
        return self

    @property
    def relative(self) -> bool:
        """Whether the limit depends on a baseline."""
        return self.relation is not None

    @property
    def text(self) -> str:
        """The limit as it is written: `>= 0.95`, `>= baseline - 0.03`."""
        if self.relation is None:
            return f"{self.comparison} {self.limit:.10g}"
        moved = "" if self.limit == 0 and self.relation != "*" else f" {self.relation} {self.limit:.10g}"
        with_resolution = "" if self.resolution is None else f", resolution {self.resolution:g}"
        return f"{self.comparison} baseline{moved}{with_resolution}"

    @property
    def finest(self) -> float:
        """The resolution, or that of the kind of figure where none is written."""
        return self.resolution or RESOLUTIONS.get(figure_named(self.figure).kind, 0.0)

    def at(self, baseline: float) -> float:
        """The limit for a baseline's figure."""
        if self.relation == "*":
            return baseline * self.limit
        return baseline + self.limit if self.relation == "+" else baseline - self.limit

    def holds(self, value: float, baseline: float | None = None) -> bool:
        """Whether a value meets the limit.

        Args:
            value: of the figure.
            baseline: of the same figure; only a relative limit needs it.
        """
        if self.relation is None:
            return _OPERATORS[self.comparison](value, self.limit)
        assert baseline is not None, "a relative limit"
        limit = self.at(baseline)
        # 0.9 * 1.1 and the like are no round numbers.
        if abs(value - limit) <= _ROUNDING * max(abs(limit), 1.0):
            return "=" in self.comparison
        return _OPERATORS[self.comparison](value, limit)
