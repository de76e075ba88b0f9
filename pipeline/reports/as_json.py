"""JSON report, `report.json`: stable and versioned; people's CI reads it."""

from __future__ import annotations

from ..results.report import Report
from .base import formats


@formats.register("report.json")
def as_json(report: Report) -> str:
    """The report's own data."""
    return report.text()
