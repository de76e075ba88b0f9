"""Robustness-aware mixed precision: float only where robustness needs it."""

from .choose import ASSIGNMENT, assign

__all__ = ["ASSIGNMENT", "assign"]
