"""QDQ linter: an ONNX file against what a target wants, without torch and without the target."""

from .finding import Severity, Violation
from .linter import lint
from .rule import RULES, Rule

__all__ = ["RULES", "Rule", "Severity", "Violation", "lint"]
