"""Report formats, one file each: a format turns a report into the text of a file."""

from __future__ import annotations

from ..results.report import Report
from ..store.store import Store
from .base import formats
from .kept_page import KEPT, kept

__all__ = ["formats", "render"]


def render(report: Report, store: Store | None = None) -> dict[str, str]:
    """Render a report in every format; return file names and their texts.

    Args:
        report: the report.
        store: keeps what is costly to draw; a process that does not lead has none to draw.
    """
    if store is not None and not store.leads:
        return {}
    return {
        name: kept(name, formats[name], report, store) if store is not None and name in KEPT else formats[name](report)
        for name in formats.names()
    }
