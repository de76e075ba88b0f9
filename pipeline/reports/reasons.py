"""Gate sentences: what a report says, gate by gate, read in ten seconds; every format for people uses these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.reading.counted import counted
from ...core.reading.printable import in_one_line
from ..figures.table import find_figure
from ..gates.result import NO_GATE, RunOutcome
from ..results.device_verdict import DEVICES, OWN
from ..results.report import Report
from .advice import what_to_do
from .rows import number

EVIDENCE = "evidence"
DEVICE = "device"
GATES = "gates"
_ORDER: dict[RunOutcome, int] = {"fail": 0, "inconclusive": 1, "measured": 2, "pass": 3}


@dataclass(frozen=True)
class Reason:
    """How one gate came out, and why.

    Attributes:
        gate: the gate's figure; `evidence` for what is asked of every run: that its attacks are to be trusted and no
            target is missing; `gates` where none was asked for; `device` for what a device brought back.
        limit: as it is written, such as `>= 0.75`; empty for the evidence, the device's name for a device.
        outcome: pass, fail or inconclusive; measured where no gate was asked for.
        engine: whose value decided; None where there is none.
        says: engine, value against limit, samples, in one sentence without a full stop.
        then: what to do next; empty where it passed.
    """

    gate: str
    limit: str
    outcome: RunOutcome
    engine: str | None
    says: str
    then: str

    @property
    def title(self) -> str:
        """The gate with its limit: `robust_accuracy >= 0.75`."""
        return f"{self.gate} {self.limit}".strip()

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{self.says}. {self.then}" if self.then else self.says


_UNGATED = Reason(GATES, "", "measured", None, NO_GATE, "A limit is set by --gate, or gates in a recipe.")


def reasons(report: Report) -> list[Reason]:
    """Return one reason a gate, or one where there is none, one for the evidence and one a device.

    What stops a merge comes first.
    """
    found = [
        *(_of_gate(gate, report) for gate in report.data["gates"]),
        *([_UNGATED] if report.data.get(OWN, report.data)["verdict"] == "measured" else []),
        _of_evidence(report),
        *(_of_device(device) for device in report.data.get(DEVICES, ())),
    ]
    return sorted(found, key=lambda reason: _ORDER[reason.outcome])


def location(report: Report) -> str | None:
    """The file that findings point at, from the repository's root; None where nothing names one."""
    return report.data.get("location")


def deciding(gate: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the engine that decided a gate; None where none has the figure."""
    engines = (subject for subject in subjects if subject["kind"] == "engine")
    return next((engine for engine in engines if engine["name"] == gate.get("subject")), None)


def _of_gate(gate: Mapping[str, Any], report: Report) -> Reason:
    engine = deciding(gate, report.subjects)
    outcome: RunOutcome = gate["outcome"]
    who = None if engine is None else in_one_line(engine["name"])
    why = gate.get("reason") or f"{number(gate)} meets {gate['limit']}"
    if outcome == "fail" and engine is not None and (short := _short(gate, engine)):
        why += f" ({short})"
    return Reason(
        in_one_line(gate["name"]),
        in_one_line(gate["limit"]),
        outcome,
        who,
        in_one_line(why if who is None else f"{who}: {why}"),
        "" if outcome == "pass" else what_to_do(gate, report),
    )


def _of_evidence(report: Report) -> Reason:
    missing, doubts = report.data.get("missing", ()), report.data.get("doubts", ())
    if not missing and not doubts:
        return Reason(EVIDENCE, "", "pass", None, "the attacks found nothing that speaks against their own figures", "")
    then = []
    if missing:
        then.append("Install what is missing (`edgeproof targets` says how), or take it out of the recipe.")
    if doubts:
        then.append("No figure of this engine counts until that is cleared up, good as it may look.")
    return Reason(
        EVIDENCE, "", "inconclusive", None, in_one_line("; ".join([*missing, *doubts])).rstrip("."), " ".join(then)
    )


def _of_device(device: Mapping[str, Any]) -> Reason:
    who, where, outcome = in_one_line(device["engine"]), in_one_line(device["device"]), device["outcome"]
    why = in_one_line("; ".join(device["reasons"])) or "what withstood the attacks in the run does so there"
    then = "" if outcome == "pass" else "Ship nothing there until it answers there as it did in the run."
    return Reason(DEVICE, where, outcome, who, f"{who} on {where}: {why}".rstrip("."), then)


def _short(gate: Mapping[str, Any], engine: Mapping[str, Any]) -> str:
    """How many samples a floor under an accuracy was missed by: `214 of 300 samples, 11 too few`."""
    comparison, _, limit = str(gate["limit"]).partition(" ")
    value, samples = gate["value"], engine.get("samples")
    figure = find_figure(str(gate["name"]))
    if figure is None or figure.kind != "share" or not samples or value is None or not comparison.startswith(">"):
        return ""
    try:
        floor = float(limit)
    except ValueError:  # relative to a baseline, whose own reason counts what was lost
        return ""
    right = round(value * samples)
    # A limit of 0.75 on 300 samples is 225 of them, not 226 because of the float's last bit.
    least = round(floor * samples, 6)
    needed = math.floor(least) + 1 if comparison == ">" else math.ceil(least)
    return f"{right} of {counted(samples, 'sample')}, {needed - right} too few"
