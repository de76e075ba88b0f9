"""Lint violation: what a rule has to say about one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: `error`: the target refuses the graph or silently misreads it; `warning`: it costs speed, size or accuracy.
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Violation:
    """One departure from what a target wants.

    Attributes:
        rule: name of the rule.
        severity: `error` or `warning`.
        node: name of the node or tensor, as the file has it; empty where the whole model is meant.
        message: one sentence: what is wrong, and what would be right.
    """

    rule: str
    severity: Severity
    node: str
    message: str
