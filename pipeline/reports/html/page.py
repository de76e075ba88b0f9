"""Run page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ....core.reading.printable import in_one_line, texts_as
from ...results.report import Report
from ..reasons import reasons
from ..rows import number as as_text
from .blocks import Table, interval, number
from .environment import render_page
from .run import RunView
from .sections import SECTIONS

_MARKS = {"pass": "✓", "measured": "–", "fail": "✕", "inconclusive": "?"}


def page(report: Report) -> str:
    """Return `report.html`; the same for the same report and files."""
    # Fonts have no glyph for a control character.
    report = replace(report, data=texts_as(in_one_line, report.data))
    run = RunView(report)
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
    """Why the verdict is what it is, and what to do about it, a line each."""
    if found := [f"{r.title}: {r.outcome}. {r.text}" for r in reasons(report) if r.outcome != "pass"]:
        return found
    gates = report.data["gates"]
    return [f"{'All ' if len(gates) > 1 else ''}{len(gates)} gate{'s are' if len(gates) > 1 else ' is'} met."]


def _note(run: RunView) -> str:
    samples = " / ".join(map(str, sorted({subject["samples"] for subject in run.subjects})))
    return (
        f"Robust accuracy: the worst case over all routes on {samples} test images, {run.threat}, attacked with "
        f"{run.attacks}. In brackets: {run.interval_name}. A pass speaks of this threat model, these samples and these "
        "attacks: it is an empirical bound, not a certificate."
    )


def _facts(run: RunView) -> list[tuple[str, str, str]]:
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
    compared = any(gate.get("against_baseline") for gate in gates)
    said = any(gate.get("reason") for gate in gates)
    columns = ["gate", "outcome", "engine", "value", "95 % interval", "limit"]
    columns += ["baseline", "difference"] if compared else []
    rows = [
        [
            str(gate["name"]),
            f"{_MARKS.get(gate['outcome'], '')} {gate['outcome']}",
            str(gate.get("subject") or ""),
            as_text(gate),
            interval(gate.get("ci")),
            str(gate["limit"]),
            *(_compared(gate.get("against_baseline")) if compared else ()),
            *([str(gate.get("reason") or "")] if said else []),
        ]
        for gate in gates
    ]
    return Table("gates", "Gates", [*columns, *(["reason"] if said else [])], rows)


def _compared(found: Mapping[str, Any] | None) -> tuple[str, str]:
    """What the baseline has, and the difference with its interval; empty where a gate has no baseline."""
    if found is None:
        return "", ""
    ci = found.get("ci")
    difference = found.get("difference")
    return (
        "" if found.get("baseline") is None else f"{found['baseline']:.4g}",
        "" if difference is None else f"{difference:+.4f}" + (f" [{ci[0]:+.4f}, {ci[1]:+.4f}]" if ci else ""),
    )
