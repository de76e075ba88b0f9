"""Command line of `teachers`."""

from __future__ import annotations

from .app import app
from .arguments import AsJson
from .from_function import Call, asks
from .output import answer


@app.command()
@asks("commands.teachers:rank_teachers")
def teachers(rank: Call, as_json: AsJson = False) -> None:
    """Screen teachers on a data sample: clean accuracy, PGD accuracy, and entropy on hard images."""
    from ..commands.teachers import show_teachers
    from ..progress import Reporter

    answer(rank(reporter=Reporter(quiet=as_json)), as_json, show_teachers)
