"""Evidence as data, `evidence.json`: metric, threshold and conditions, clause by clause, and what is not covered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..card.text import LIMITS
from ..figures.route_agreement import AGREEMENT
from ..figures.table import every, routes_of
from ..results.device_verdict import DEVICES
from ..results.report import Report
from .clauses import SOURCES, Clause

EVIDENCE = "evidence.json"
SCHEMA_VERSION = 1
NOTICE = (
    "What was measured, in the order of clauses that ask for such evidence. It is no declaration of conformity and no "
    "certificate; what a clause means for a system, and whether it is met, others decide. Fields without a value are "
    "for the provider to fill."
)


def evidence(report: Report, *, author: str | None = None, when: str | None = None) -> dict[str, Any]:
    """Return the content of `evidence.json`.

    Args:
        report: the run's.
        author: who answers for the evidence; nobody is named unless somebody asks for it.
        when: when the results of the attacks were put together, in UTC.
    """
    data = report.data
    environment = data.get("environment", {})
    dataset = data.get("dataset") or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": NOTICE,
        "who": author,
        "when": when,
        "run": {key: data[key] for key in ("name", "recipe_digest", "verdict", "reasons")},
        "engines": [
            {"name": each["name"], "sha256": each.get("sha256"), "precision": each.get("precision")}
            for each in _engines(report)
        ],
        "conditions": {
            "threat_model": dict(data["threat_model"]),
            "attacks": environment.get("attacks"),
            "settings": dict(data.get("verify") or {}),
            "data_set": {"name": dataset.get("name"), "digest": dataset.get("digest"), "split": "test"},
            "versions": {
                name: value for name, value in environment.items() if isinstance(value, str) and name != "attacks"
            },
            "machine": dict(environment.get("machine") or {}),
        },
        "sources": [
            {
                "name": source.name,
                "status": source.status,
                "clauses": [_clause(clause, report) for clause in source.clauses],
            }
            for source in SOURCES
        ],
        "not_covered": list(LIMITS),
    }


def text_of(found: Mapping[str, Any]) -> str:
    """The content of the file."""
    return json.dumps(found, indent=1) + "\n"


def to_fill(found: Mapping[str, Any]) -> list[str]:
    """What the provider has to fill, in the document's order."""
    general = [name for name in ("who", "when") if found[name] is None]
    clauses = [clause for source in found["sources"] for clause in source["clauses"]]
    return [*general, *(name for clause in clauses for name in clause["provider"])]


def _clause(clause: Clause, report: Report) -> dict[str, Any]:
    return {
        "name": clause.name,
        "asks": clause.asks,
        "results": _results(clause, report),
        **({"devices": _devices(report)} if clause.devices else {}),
        **(_attacks(report) if clause.attacks else {}),
        "not_covered": list(clause.not_covered),
        "provider": dict.fromkeys(clause.to_fill),
    }


def _results(clause: Clause, report: Report) -> list[dict[str, Any]]:
    """The figures of every engine, each with its sample and the gates on it."""
    found: list[dict[str, Any]] = []
    for figure in every(routes_of(report.subjects)):
        gates = [gate for gate in report.data.get("gates", ()) if gate["name"] == figure.name]
        # How far a single route agrees with all is a check of the attacks; it matters where somebody gates it.
        if not clause.shows(figure) or (figure.name.endswith(AGREEMENT) and not gates):
            continue
        for engine in _engines(report):
            value, interval = figure.value(engine), figure.interval(engine)
            if value is None:
                continue
            found.append(
                {
                    "engine": engine["name"],
                    "metric": figure.name,
                    "meaning": figure.help or figure.words,
                    "value": value,
                    "interval_95": None if interval is None else list(interval),
                    "samples": engine.get("samples"),
                    "thresholds": [
                        {"limit": gate["limit"], "outcome": gate["outcome"], "decided_by": gate.get("subject")}
                        for gate in gates
                    ],
                }
            )
    return found


def _attacks(report: Report) -> dict[str, Any]:
    """What each attack left standing, and what speaks against the figures."""
    return {
        "robust_accuracy_after": {each["name"]: dict(each.get("routes") or {}) for each in _engines(report)},
        "findings": list(report.data.get("doubts", ())),
    }


def _devices(report: Report) -> list[dict[str, Any]]:
    keys = ("device", "engine", "engine_sha256", "outcome", "robust_accuracy")
    return [{key: device[key] for key in keys} for device in report.data.get(DEVICES, ())]


def _engines(report: Report) -> list[Mapping[str, Any]]:
    return [subject for subject in report.subjects if subject["kind"] == "engine"]
