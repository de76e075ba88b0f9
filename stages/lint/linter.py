"""Linter: all rules over one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...targets.base import Scheme
from . import rules  # noqa: F401  (fills RULES)
from .finding import Violation
from .reading import Reading
from .rule import RULES

if TYPE_CHECKING:
    import onnx


def lint(model: onnx.ModelProto, scheme: Scheme) -> list[Violation]:
    """Check a model against a scheme.

    Args:
        model: any ONNX model. Local functions are inlined; Q/DQ pairs inside the branches of If, Loop and Scan are
            not looked at. Of external data that is not loaded, only where it points is checked.
        scheme: what the target wants; `targets.schemes.SCHEMES` has them by target.

    Returns:
        The findings, errors first, in the order of the rules and of the graph. A model without Q/DQ pairs gets one
        warning that says so, and what is wrong with any model.
    """
    reading = Reading(model)
    findings = [finding for rule in RULES for finding in rule.findings(reading, scheme)]
    return sorted(findings, key=lambda finding: finding.severity != "error")
