"""CycloneDX attestations (CDXA): the gates as requirements, and what the run claims of each.

Source: https://cyclonedx.org/docs/1.6/json/#declarations
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..reports.reasons import Reason, reasons
from ..results.finished_run import REPORT
from ..results.report import Report

_WHOLE = "bundle"


def attestations(report: Report, components: Collection[str], author: str | None = None) -> dict[str, Any]:
    """Return the parts `definitions` and `declarations` of a bill of materials.

    Args:
        report: the run's.
        components: the references of the bill's components.
        author: who answers for the claims; nobody is named without it.
    """
    found = [each for each in reasons(report) if each.outcome != "measured"]
    held = [_ref("claim", place, each) for place, each in enumerate(found)]
    return {
        "definitions": {
            "standards": [
                {
                    "bom-ref": "gates",
                    "name": f"Gates of {report.data['name']}",
                    "description": "What the run was to meet; no standard of any body.",
                    "requirements": [
                        {"bom-ref": _ref("gate", place, each), "identifier": each.title, "title": each.title}
                        for place, each in enumerate(found)
                    ],
                }
            ]
        },
        "declarations": {
            "assessors": [
                {"bom-ref": "assessor", **({"organization": {"contact": [{"name": author}]}} if author else {})}
            ],
            "attestations": [
                {
                    "summary": "Gates as edgeproof judged them. An inconclusive gate conforms to nothing.",
                    "assessor": "assessor",
                    "map": [_judged(place, each, held[place]) for place, each in enumerate(found)],
                }
            ],
            "claims": [
                {
                    "bom-ref": held[place],
                    "target": target if (target := f"engine/{each.engine}") in components else _WHOLE,
                    "predicate": f"{each.title}: {each.outcome}",
                    "reasoning": each.text,
                    "evidence": ["evidence/report"],
                }
                for place, each in enumerate(found)
            ],
            "evidence": [
                {
                    "bom-ref": "evidence/report",
                    "propertyName": REPORT,
                    "description": "Figures, intervals, samples and settings; per-sample bits and adversarial examples "
                    "lie beside it.",
                    "data": [{"name": REPORT, "contents": {"url": REPORT}}],
                    **({"author": {"name": author}} if author else {}),
                }
            ],
        },
    }


def _judged(place: int, reason: Reason, claim: str) -> dict[str, Any]:
    passed = reason.outcome == "pass"
    return {
        "requirement": _ref("gate", place, reason),
        "claims" if passed else "counterClaims": [claim],
        "conformance": {"score": float(passed), "rationale": reason.text},
    }


def _ref(kind: str, place: int, reason: Reason) -> str:
    return f"{kind}/{place}/{reason.gate}"
