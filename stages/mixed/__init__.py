"""Robustness-aware mixed precision: float only where robustness needs it."""

from .assign import ASSIGNMENT, assign

__all__ = ["ASSIGNMENT", "assign"]
