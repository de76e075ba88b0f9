"""Gates: conditions on the report's figures, absolute or against a baseline, and the one verdict that follows."""

from __future__ import annotations

from .condition import Condition
from .judge import judge
from .result import EXIT_CODES, Comparison, GateResult, Outcome, Verdict

__all__ = ["EXIT_CODES", "Comparison", "Condition", "GateResult", "Outcome", "Verdict", "judge"]
