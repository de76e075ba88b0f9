"""Check an ONNX file against what a target wants its QDQ graph to look like, without torch and without the target."""

from .finding import Severity, Violation
from .linter import lint
from .rule import RULES, Rule

__all__ = ["RULES", "Rule", "Severity", "Violation", "lint"]
