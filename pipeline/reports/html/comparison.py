"""Comparison page: runs side by side."""

from __future__ import annotations

import string
from collections.abc import Sequence

from ...results.report import Report
from .comparison_sections import Comparison, curves, environments, ledgers, paired, recipes, speed
from .environment import render_page
from .run import RunView


def comparison_page(
    paths: Sequence[str], reports: Sequence[Report], compared: Sequence[Comparison], figure: str
) -> str:
    """Return the page.

    Args:
        paths: of the runs, as the user named them.
        reports: theirs.
        compared: of every run but the first, how it compares with the first.
        figure: `robust` or `clean`, what was compared.
    """
    runs = [RunView(report) for report in reports]
    letters = [string.ascii_uppercase[place % 26] for place in range(len(runs))]
    makers = (
        paired(letters, compared, figure),
        ledgers(letters, runs),
        curves(letters, runs),
        speed(letters, runs),
        recipes(letters, reports),
        environments(letters, reports),
    )
    return render_page(
        "comparison.html.j2",
        title="Comparison: " + ", ".join(str(report.data.get("name", "")) for report in reports),
        verdicts=[
            (letter, str(report.data.get("name", "")), path, report.data["verdict"], "; ".join(_reasons(report)))
            for letter, path, report in zip(letters, paths, reports, strict=True)
        ],
        sentences=[
            each
            if isinstance(each, str)
            else each["sentence"].replace("B is", f"{letter} is").replace("A and B", f"A and {letter}")
            for letter, each in zip(letters[1:], compared, strict=True)
        ],
        sections=[section for section in makers if section is not None],
    )


def _reasons(report: Report) -> list[str]:
    return [str(reason) for reason in report.data.get("reasons", ())]
