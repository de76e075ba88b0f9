"""Registry of report formats."""

from __future__ import annotations

from collections.abc import Callable

from ...core.registry import Registry
from ..results.report import Report

# File name to a function that writes a report in this format.
formats: Registry[Callable[[Report], str]] = Registry(
    "report format", "edgeproof.pipeline.reports", "edgeproof.reports"
)
