"""HTML report, `report.html`: the whole run on one page, in one file that needs no network."""

from __future__ import annotations

from ...results.report import Report
from ..base import formats


@formats.register("report.html")
def as_html(report: Report) -> str:
    """Render the page; drawn from the run's files as far as they are known, and from the report alone without them."""
    from .page import page  # jinja2 and matplotlib, which `gate` and the terminal do without

    return page(report)
