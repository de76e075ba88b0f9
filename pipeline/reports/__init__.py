"""The report formats, one file each: a format turns a report into the text of a file."""

from __future__ import annotations

from ..results.report import Report
from .base import formats

__all__ = ["formats", "render"]


def render(report: Report) -> dict[str, str]:
    """Render a report in every format; return file names and their texts."""
    return {name: formats[name](report) for name in formats.names()}
