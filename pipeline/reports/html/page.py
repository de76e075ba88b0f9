"""The page of a run."""

from __future__ import annotations

from typing import Any

from ...report import Report
from .blocks import Table, interval, number
from .environment import render_page
from .run import Run
from .sections import SECTIONS

_MARKS = {"pass": "✓", "fail": "✕", "inconclusive": "?"}
# Keys of a gate that have a column where any gate has one, and the columns' heads.
_MORE = {"subject": "subject", "baseline": "baseline", "difference": "difference"}


def page(report: Report) -> str:
    """Return `report.html`; the same for the same report and files."""
    run = Run(report)
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    data = report.data
    return render_page(
        "report.html.j2",
        title=f"{data['name']}: {data['verdict']}",
        name=data["name"],
        verdict=data["verdict"],
        mark=_MARKS.get(data["verdict"], "?"),
        reasons=_reasons(report),
        facts=_facts(run),
        note=_note(run),
        gates=_gates(report),
        sections=sections,
    )


def _reasons(report: Report) -> list[str]:
    """Why the verdict is what it is, one sentence each."""
    gates = report.data["gates"]
    if found := list(report.data.get("reasons", ())):
        return found
    if not gates:
        return ["No gate was set: this is a measurement, which nothing had to pass. Set one with --gate or gates:."]
    return [f"{'All ' if len(gates) > 1 else ''}{len(gates)} gate{'s are' if len(gates) > 1 else ' is'} met."]


def _note(run: Run) -> str:
    samples = " / ".join(map(str, sorted({subject["samples"] for subject in run.subjects})))
    return (
        f"Robust accuracy: the worst case over all routes on {samples} test images, {run.threat}, attacked with "
        f"{run.attacks}. In brackets: {run.interval_name}. A pass speaks of this threat model, these samples and these "
        "attacks: it is an empirical bound, not a certificate."
    )


def _facts(run: Run) -> list[tuple[str, str, str]]:
    """What ships, in a line each: its name, its robust accuracy, and the rest."""
    facts: list[tuple[str, str, str]] = []
    for engine in run.engines:
        words = [f"clean {number(engine['clean_accuracy'])}", f"{engine['samples']} images"]
        if engine.get("retention") is not None:
            words.insert(1, f"retention {number(engine['retention'])} {interval(engine.get('retention_ci'))}")
        robust = f"{number(engine['robust_accuracy'])} {interval(engine.get('robust_accuracy_ci'))}"
        facts.append((run.label(engine), robust, " · ".join(words)))
    return facts


def _gates(report: Report) -> Table | None:
    gates = report.data["gates"]
    if not gates:
        return None
    more = [key for key in _MORE if any(gate.get(key) is not None for gate in gates)]
    reasons = any(gate.get("reason") for gate in gates)
    columns = ["gate", "outcome", "value", "95 % interval", "limit", *(_MORE[key] for key in more)]
    rows = [
        [
            str(gate["name"]),
            f"{_MARKS.get(gate['outcome'], '')} {gate['outcome']}",
            "" if gate["value"] is None else f"{gate['value']:.4g}",
            interval(gate.get("ci")),
            str(gate["limit"]),
            *(_text(gate.get(key)) for key in more),
            *([str(gate.get("reason") or "")] if reasons else []),
        ]
        for gate in gates
    ]
    return Table("gates", "Gates", [*columns, *(["reason"] if reasons else [])], rows)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
