"""Run page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ....core.reading.counted import counted
from ....core.reading.printable import in_one_line, texts_as
from ....stages.norms.base import norms
from ....stages.threat import ball_text, radius_text
from ....stages.verify.effort import weaker
from ...gates import NO_GATE, STOPPING
from ...results.report import Report
from ..reasons import reasons
from ..rows import images_attacked
from ..rows import number as as_text
from .blocks import Section, Table, interval, number
from .environment import render_page
from .run import RunView
from .sections import SECTIONS
from .sections.glossary import glossary_section

# What the verdict is good for, where its reasons do not say it.
_MEANINGS = {
    "inconclusive": "Nothing is shown, neither good nor bad. It is no reason to ship, and none to blame the engine.",
    "measured": "These are figures and no decision: nothing had to be met. --gate sets a limit, or gates in a recipe.",
}
_MARKS = {"pass": "✓", "measured": "–", "fail": "✕", "inconclusive": "?"}


def page(report: Report) -> str:
    """Return `report.html`; the same for the same report and files."""
    # Fonts have no glyph for a control character.
    report = replace(report, data=texts_as(in_one_line, report.data))
    run = RunView(report)
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    data = report.data
    reasons, facts, about, note, gates = _reasons(report), _facts(run), _about(run), _note(run), _gates(report)
    head = [*reasons, *itertools.chain(*facts, *about), note]
    words = glossary_section(run, sections if gates is None else [*sections, Section("", "", tables=[gates])], *head)
    return render_page(
        "report.html.j2",
        title=f"{data['name']}: {data['verdict']}",
        name=data["name"],
        verdict=data["verdict"],
        mark=_MARKS.get(data["verdict"], "?"),
        meaning=_MEANINGS.get(data["verdict"], ""),
        reasons=reasons,
        facts=facts,
        about=about,
        note=note,
        gates=gates,
        sections=[*sections, words],
        footer=_footer(run),
    )


def _reasons(report: Report) -> list[str]:
    """Why the verdict is what it is, and what to do about it, a line each."""
    if found := [f"{r.title}: {r.outcome}. {r.text}" for r in reasons(report) if r.outcome in STOPPING]:
        return found
    if report.data["verdict"] == "measured":
        return [f"{NO_GATE[0].upper()}{NO_GATE[1:]}."]
    gates = report.data["gates"]
    return [f"{'All ' if len(gates) > 1 else ''}{counted(len(gates), 'gate')} {'are' if len(gates) > 1 else 'is'} met."]


def _note(run: RunView) -> str:
    images = images_attacked(run.report)
    return (
        f"Robust accuracy: the worst case over all routes on {images}, {run.threat}, attacked with "
        f"{run.attacks}. In brackets: {run.interval_name}. The figures speak of this threat model, these samples and "
        "these attacks: an empirical bound, no certificate."
    )


def _facts(run: RunView) -> list[tuple[str, str, str]]:
    """What ships, in a line each: its name, its robust accuracy, and the rest."""
    facts: list[tuple[str, str, str]] = []
    for engine in run.engines:
        words = [_sentence(engine, run.report.data["threat_model"])]
        if engine.get("retention") is not None:
            words.append(f"Retention {number(engine['retention'])} {interval(engine.get('retention_ci'))}.")
        robust = f"{number(engine['robust_accuracy'])} {interval(engine.get('robust_accuracy_ci'))}"
        facts.append((run.label(engine), robust, " ".join(words)))
    return facts


def _sentence(engine: Mapping[str, Any], threat: Mapping[str, Any]) -> str:
    """What was found of an engine, in numbers of images."""
    samples, eps = engine["samples"], radius_text(threat["eps"])
    right, left = (round(engine[figure] * samples) for figure in ("clean_accuracy", "robust_accuracy"))
    known = norms[threat["norm"]].moving(eps) if threat["norm"] in norms.names() else f"within {ball_text(threat)}"
    return (
        f"Of {counted(samples, 'test image')} {right} {'is' if right == 1 else 'are'} answered rightly as "
        f"{'it is' if right == 1 else 'they are'}; for {left} of them no attack that was run changed that, {known}."
    )


def _about(run: RunView) -> list[tuple[str, str, str]]:
    """What the verdict is about: model, data, threat, time and tools; each with a digest or none."""
    data = run.report.data
    dataset, environment = data.get("dataset") or {}, data["environment"]
    models = [line for engine in run.engines for line in _model(run, engine)]
    samples = " / ".join(map(str, sorted({subject["samples"] for subject in run.subjects})))
    tests = data.get("test_images")
    drawn = f"{samples} of {counted(tests, 'image')}" if tests else images_attacked(run.report)
    tools = f"edgeproof {environment.get('edgeproof') or 'of an unknown version'}, {run.attacks}"
    if data.get("verify"):
        less = list(weaker(data["verify"]))
        tools += f"; less than the standard effort ({', '.join(less)})" if less else "; standard effort"
    when = data.get("when")
    return [
        *models,
        ("data", f"{dataset.get('name') or 'unknown'}, test split: {drawn}", _digest(dataset.get("digest"))),
        ("threat", f"{run.threat}, untargeted; the attacker knows the model", ""),
        *([("when", f"{when.replace('T', ' ').removesuffix('Z')} UTC", "")] if when else []),
        ("attacked with", tools, ""),
    ]


def _model(run: RunView, engine: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """An engine's file; of one with an adapter the file as it was given, and what was attacked; its surrogate."""
    attacked = f"{run.label(engine)}, {engine.get('path') or 'in no file'}", _digest(engine.get("sha256"))
    given, lent = engine.get("given"), engine.get("surrogate")
    lines = [("model", *attacked)]
    if given:
        name = f"{run.label(engine)}, {given.get('path') or 'in no file'}"
        behind = f"{', '.join(engine.get('adapter', ()))}; attacked as {engine.get('path')}"
        lines = [("model", name, _digest(given.get("sha256"))), ("adapter", behind, attacked[1])]
    if lent:
        around = f" behind its adapter ({', '.join(lent['adapter'])})" if lent.get("adapter") else ""
        lines.append(("surrogate", f"{lent['path']}{around}", _digest(lent.get("sha256"))))
    return lines


def _digest(sha256: object) -> str:
    return f"SHA-256 {sha256}" if sha256 else ""


def _footer(run: RunView) -> str:
    made = f"Made by edgeproof {run.report.data['environment'].get('edgeproof') or ''}".rstrip()
    again = " The same once more: edgeproof build recipe.yaml." if run.files.text("recipe.yaml") else ""
    return f"{made}; its docs/report.md explains this page.{again}"


def _gates(report: Report) -> Table | None:
    gates = report.data["gates"]
    if not gates:
        return None
    compared = any(gate.get("against_baseline") for gate in gates)
    # Why a gate stops a merge stands above already.
    reasons = ["" if gate["outcome"] in STOPPING else str(gate.get("reason") or "") for gate in gates]
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
            *([reason] if any(reasons) else []),
        ]
        for gate, reason in zip(gates, reasons, strict=True)
    ]
    return Table("gates", "Gates", [*columns, *(["reason"] if any(reasons) else [])], rows, stacked=True)


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
