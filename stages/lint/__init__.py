"""Check an ONNX file against what a target wants its QDQ graph to look like, without torch and without the target."""

from .finding import Finding, Severity
from .linter import lint
from .rule import RULES, Rule

__all__ = ["RULES", "Finding", "Rule", "Severity", "lint"]
