"""GitHub workflow commands: lines on stdout that become annotations of the run and of the pull request.

What stops a merge is an `::error::`, an inconclusive gate too; the report's warnings are `::warning::`, and any other
verdict is one `::notice::`. GitLab and others have no such lines: there `junit.xml` is what a merge request shows.

Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions, and for what is escaped the
functions `escapeData` and `escapeProperty` of https://github.com/actions/toolkit (packages/core/src/command.ts).
"""

from __future__ import annotations

from ...core.reading.counted import counted
from ...core.reading.printable import in_one_line
from ..gates import STOPPING
from ..results.report import Report
from .reasons import location, reasons
from .rows import headline, warnings

# GitHub shows no more than this of one kind a step, and drops the rest without a word.
MOST = 10


def workflow_commands(report: Report) -> list[str]:
    """Return the report as workflow commands, one a line."""
    stops = [
        (f"{reason.outcome.upper()} {reason.title}", reason.text)
        for reason in reasons(report)
        if reason.outcome in STOPPING
    ]
    warned = [("edgeproof", line) for line in warnings(report)]
    lines = [*_capped("error", stops, report), *_capped("warning", warned, report)]
    if report.data["verdict"] not in STOPPING:
        gates = f", {counted(len(report.data['gates']), 'gate')}" if report.data["gates"] else ""
        lines.append(_command("notice", "edgeproof", f"{report.data['name']}: {headline(report)}{gates}", report))
    return lines


def _capped(kind: str, found: list[tuple[str, str]], report: Report) -> list[str]:
    if len(found) > MOST:
        more = len(found) - MOST + 1
        found = [*found[: MOST - 1], ("edgeproof", f"and {more} more; the step summary and report.json have them all")]
    return [_command(kind, title, text, report) for title, text in found]


def _command(kind: str, title: str, text: str, report: Report) -> str:
    place = location(report)
    properties = {"title": title} if place is None else {"file": place, "line": "1", "title": title}
    written = ",".join(f"{key}={_property(in_one_line(value))}" for key, value in properties.items())
    return f"::{kind} {written}::{_data(in_one_line(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
