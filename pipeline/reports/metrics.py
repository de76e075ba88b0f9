"""OpenMetrics, `metrics.txt`: the figures for GitLab's metrics report and for Prometheus.

GitLab shows in a merge request which of them changed. Latencies are left out: they differ from run to run and from
machine to machine, and a figure that always changes teaches people to look away.

Source: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

import re

from ...core.reading.printable import in_one_line
from ..figures.table import gated, routes_of
from ..results.report import Report
from .base import formats


@formats.register("metrics.txt")
def metrics(report: Report) -> str:
    """Render the figures of all subjects, and the verdict as its exit code."""
    lines: list[str] = []
    for figure in gated(routes_of(report.subjects)):
        family = "edgeproof_" + re.sub(r"\W", "_", figure.name)
        samples = [
            f'{family}{{subject="{_label(subject["name"])}"}} {_number(value)}'
            for subject in report.subjects
            if figure.kind != "ratio" and (value := figure.value(subject)) is not None
        ]
        if samples:
            unit = [f"# UNIT {family} bytes"] if family.endswith("_bytes") else []
            lines += [f"# TYPE {family} gauge", *unit, f"# HELP {family} {figure.words}", *samples]
    lines += [
        "# TYPE edgeproof_exit_code gauge",
        "# HELP edgeproof_exit_code 0 pass or measured, 1 fail, 4 inconclusive",
        f"edgeproof_exit_code {report.exit_code}",
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Four digits after the point: finer ones than 10,000 samples tell would only make a difference to a diff."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _label(text: object) -> str:
    return in_one_line(text).replace("\\", "\\\\").replace('"', '\\"')
