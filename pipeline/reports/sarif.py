"""SARIF 2.1.0, `gate.sarif`, for GitHub code scanning.

What it is good for: code scanning keeps an alert open from the merge request that lost robustness to the one that won
it back, on a file that somebody owns, and can be made a required check. An alert needs a file of the repository:
what `--location` names, else the baseline, else the model that `verify` was given, else the run's `recipe.yaml`.

Only what stops a merge is a result, since GitHub opens an alert for every result, one of `kind: pass` too. An
inconclusive gate has level `error` like a failed one; SARIF's own `kind: open` would force the level `none`, which
looks harmless.

Gates that attacks decide name what the attacks are in MITRE ATLAS and in NIST AI 100-2.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from ...core.function import is_function
from ...core.reading.printable import in_one_line
from ..figures.table import find_figure
from ..gates import STOPPING
from ..results.report import Report
from .base import formats
from .reasons import DEVICE, EVIDENCE, Reason, location, reasons
from .taxonomies import supported, taxa, taxonomies

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


@formats.register("gate.sarif")
def sarif(report: Report) -> str:
    """Render what stops a merge as a SARIF log."""
    stops = [reason for reason in reasons(report) if reason.outcome in STOPPING]
    rules = sorted({reason.gate for reason in reasons(report) if reason.outcome != "measured"})
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "edgeproof",
                        "version": report.data["environment"].get("edgeproof") or "unknown",
                        "rules": [_rule(name) for name in rules],
                        "supportedTaxonomies": supported(),
                    }
                },
                "taxonomies": taxonomies(),
                # One report's alerts do not close another's.
                "automationDetails": {"id": f"edgeproof/{in_one_line(report.data['name'])}/"},
                "results": [_result(reason, rules.index(reason.gate), report) for reason in stops],
                "columnKind": "utf16CodeUnits",
            }
        ],
    }
    return json.dumps(log, indent=1) + "\n"


def _rule(name: str) -> dict[str, Any]:
    figure = find_figure(name)
    words = name if figure is None else figure.words.capitalize()
    if name == EVIDENCE:
        words = "The attacks can be trusted and no target is missing"
    return {
        "id": f"edgeproof/{name}",
        "name": "".join(word.capitalize() for word in name.split("_")),
        "shortDescription": {"text": f"{words}."},
        "fullDescription": {"text": f"{words}, as edgeproof measured it on the engine that ships."},
        "help": {"text": "docs/ci.md says what to do when a gate is red or inconclusive."},
        "defaultConfiguration": {"level": "error"},
        **({"relationships": [{"target": each, "kinds": ["relevant"]} for each in taxa()]} if _attacked(name) else {}),
    }


def _attacked(gate: str) -> bool:
    """Whether a gate is on what attacks found, or on whether they can be trusted."""
    figure = find_figure(gate)
    return gate in (EVIDENCE, DEVICE) or (figure is not None and figure.attacked)


def _proved(report: Report) -> str:
    """The file of the model that a proof is about; empty for a build, which has networks beside its engines."""
    if len(report.subjects) != 1 or report.subjects[0]["kind"] != "engine":
        return ""
    (model,) = report.subjects
    path = str((model.get("given") or model).get("path") or "")
    return f"{path.partition(':')[0].replace('.', '/')}.py" if is_function(path) else path


def _result(reason: Reason, rule: int, report: Report) -> dict[str, Any]:
    uri = quote(str(location(report) or _proved(report) or "recipe.yaml"), errors="replace")
    identity = f"{in_one_line(report.data['name'])}/{reason.title}/{reason.engine}"
    return {
        "ruleId": f"edgeproof/{reason.gate}",
        "ruleIndex": rule,
        "level": "error",
        **({"taxa": taxa()} if _attacked(reason.gate) else {}),
        "message": {"text": f"{reason.title}: {reason.outcome}. {reason.text}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 1},
                }
            }
        ],
        # What an alert is known by from run to run: not its figures, which change.
        "partialFingerprints": {"edgeproofGate/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
