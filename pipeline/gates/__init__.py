"""Gates: conditions on the report's figures, absolute or against a baseline, and the one verdict that follows."""

from __future__ import annotations

from .condition import Condition
from .judge import judge
from .result import EXIT_CODES, NO_GATE, STOPPING, Comparison, GateResult, Outcome, RunOutcome, Verdict

__all__ = [
    "EXIT_CODES",
    "NO_GATE",
    "STOPPING",
    "Comparison",
    "Condition",
    "GateResult",
    "Outcome",
    "RunOutcome",
    "Verdict",
    "judge",
]
