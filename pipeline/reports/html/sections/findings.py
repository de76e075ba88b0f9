"""What speaks against the figures, and what the verifier asked itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..blocks import Section, Table
from ..run import RunView

_CHECKS = (
    ("attacked at a huge eps", "huge_eps_attacked", "survived", "huge_eps_survived"),
    ("found by others, missed by the white box", "standing", "missed", "missed_by_white_box"),
    ("found by the search alone", "standing", "missed by gradients", "search_missed"),
    ("gradients asked for", "gradients_asked", "none there", "gradients_gone"),
    ("attacked in fewer steps and a wider ball", "monotone_asked", "fewer steps did better", "fewer_steps_better"),
    ("clean labels compared with the twin", "clean_compared", "the same", "clean_agreeing"),
    ("adversarial labels compared with the twin", "adversarial_compared", "the same", "adversarial_agreeing"),
    ("asked again after the attacks", "asked_again", "answered otherwise", "changed"),
)


def findings_section(run: RunView) -> Section | None:
    """Warnings and doubts as sentences, and the counts behind them; None where there is neither."""
    doubts = set(run.report.data.get("doubts", ()))
    rows = [
        (subject["name"], "makes it inconclusive" if f"{subject['name']}: {line}" in doubts else "warning", line)
        for subject in run.subjects
        for line in subject.get("warnings", ())
    ]
    rows += [("run", "missing", line) for line in run.report.data.get("missing", ())]
    tables = [Table("findings", "Findings and warnings", ("subject", "weight", "finding"), rows)] if rows else []
    checks = _checks(run)
    if checks:
        tables.append(
            Table(
                "checks",
                "What the verifier held against its own result",
                ("subject", "check", "of", "outcome", "count"),
                checks,
                folded=bool(rows) or len(checks) > 8,
            )
        )
    if not tables:
        return None
    lead = [] if rows else ["Nothing speaks against these figures."]
    return Section(name="findings", title="Findings", lead=lead, tables=tables)


def _checks(run: RunView) -> list[tuple[str, ...]]:
    figures = run.files.json("verification/figures.json")
    if not isinstance(figures, Mapping):
        return []
    found: list[tuple[str, ...]] = []
    for subject in run.subjects:
        counts: Mapping[str, Any] = figures.get(subject["name"], {}).get("counts", {})
        found += [
            (subject["name"], check, str(counts[of]), outcome, str(counts[count]))
            for check, of, outcome, count in _CHECKS
            if counts.get(of) and count in counts
        ]
    return found
