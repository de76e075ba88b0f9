"""Schema of `report.json` as it is read: types and bounds of what is shown, gated or compared.

A report may come from anybody. What is not named here is kept and never computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...core.config import what_is_wrong
from ..gates.result import Outcome, RunOutcome

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Positive = Annotated[float, Field(ge=0, le=1e15)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]
# Of a file in `verification/`.
Name = Annotated[str, Field(min_length=1, pattern=r"^[^/\\\x00]+$")]
# A key that is left out is not there; None says that there is nothing.
_MOST_SHOWN = 1000


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, protected_namespaces=())


class _Latency(_Part):
    batch: Count = 0
    p50: Positive | None = None
    p90: Positive | None = None
    p99: Positive | None = None


class _Measured(_Part):
    subject: str
    batch: Count
    p50: Positive
    p90: Positive
    p99: Positive


class _Ratio(_Part):
    ratio: Positive | None
    low: Positive | None
    high: Positive | None


class _Bench(_Part):
    size_bytes: dict[str, Positive | None] = {}
    latency_ms: list[_Measured] = []
    times_slower_than_engine: dict[str, dict[str, Positive]] = {}
    latency_ratio: dict[str, _Ratio] = {}

    @model_validator(mode="after")
    def _with_ratios(self) -> _Bench:
        if self.latency_ms and "times_slower_than_engine" not in self.model_fields_set:
            raise ValueError("times_slower_than_engine is missing")
        return self


class _Calibration(_Part):
    samples: Count = 0
    adversarial: Count = 0
    images_per_class: dict[str, Count] = {}


class _Curve(_Part):
    samples: Count
    seed: Count
    attacks: list[str]
    radii: list[Positive] = Field(min_length=1, max_length=_MOST_SHOWN)
    accuracy: list[Share]
    accuracy_ci: list[Interval | None]

    @model_validator(mode="after")
    def _of_one_length(self) -> _Curve:
        if not len(self.radii) == len(self.accuracy) == len(self.accuracy_ci):
            raise ValueError("radii, accuracy and accuracy_ci are of one length")
        return self


class _Corruptions(_Part):
    severities: list[Count] = Field(min_length=1)
    constants: str
    accuracy: dict[str, list[Share]]

    @model_validator(mode="after")
    def _of_each_severity(self) -> _Corruptions:
        if any(len(values) != len(self.severities) for values in self.accuracy.values()):
            raise ValueError("every corruption has one accuracy a severity")
        return self


class _Paired(_Part):
    lost: Count
    gained: Count
    difference: Number
    ci: Interval
    p: Share


class _Sequential(_Part):
    population: Count | None = None
    error: Share | None = None


class _Twin(_Part):
    clean: Share
    adversarial: Share


class _Surrogate(_Part):
    path: str
    sha256: str
    adapter: list[str] = []


class Subject(_Part):
    """Teacher, student, engine, or a step on the way to one."""

    name: Name
    kind: str
    samples: Count = 0
    sha256: str | None = None
    path: str = ""
    precision: str | None = None
    options: dict[str, Any] = {}
    parameters: Count | None = None
    size_bytes: Positive | None = None
    latency_ms: _Latency | None = None
    clean_accuracy: Share
    clean_accuracy_ci: Interval | None = None
    robust_accuracy: Share
    robust_accuracy_ci: Interval | None = None
    robust_accuracy_8bit: Share | None = None
    robust_accuracy_8bit_ci: Interval | None = None
    corrupted_accuracy: Share | None = None
    corrupted_accuracy_ci: Interval | None = None
    retention: Positive | None = None
    retention_ci: Interval | None = None
    routes: dict[str, Share] = {}
    attacks: dict[str, Share] = {}
    checks: dict[str, dict[str, Count]] = {}
    warnings: list[str] = []
    twin_agreement: _Twin | None = None
    bench: _Bench | None = None
    calibration: _Calibration | None = None
    curve: _Curve | None = None
    corruptions: _Corruptions | None = None
    against_student: _Paired | None = None
    sequential: _Sequential | None = None
    given: dict[str, Any] = {}
    adapter: list[str] = []
    surrogate: _Surrogate | None = None


class _Against(_Part):
    value: Number | None = None
    baseline: Number | None = None
    difference: Number | None = None
    ci: Interval | None = None
    samples: Count | None = None
    lost: Count | None = None
    gained: Count | None = None
    p: Number | None = None


class Gate(_Part):
    """How one gate came out."""

    name: str
    limit: str
    outcome: Outcome = "inconclusive"
    value: Number | None = None
    ci: Interval | None = None
    reason: str | None = None
    subject: str | None = None
    samples_needed: Number | None = None
    against_baseline: _Against | None = None


class _Run(_Part):
    robust_accuracy: Share


class Device(_Part):
    """What a device brought back."""

    device: str
    engine: str
    target: str
    engine_sha256: str
    outcome: Outcome
    reasons: list[str]
    robust_accuracy: Share
    run: _Run
    lost: list[Count]
    allowed: Count


class _Threat(_Part):
    norm: str
    eps: Annotated[float, Field(gt=0, le=1e6)]


class _Environment(_Part):
    attacks: str | None = None
    edgeproof: str | None = None
    machine: dict[str, str | int | None] = {}


class _Verdict(_Part):
    verdict: RunOutcome
    reasons: list[str]


class ReportSchema(_Part):
    """`report.json`."""

    name: str = ""
    recipe_digest: str = ""
    verdict: RunOutcome = "inconclusive"
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    reasons: list[str] = []
    doubts: list[str] = []
    missing: list[str] = []
    threat_model: _Threat
    dataset: dict[str, str | None] = {}
    test_images: Count | None = None
    when: str | None = None
    verify: dict[str, Any] = {}
    subjects: list[Subject] = Field(max_length=_MOST_SHOWN)
    gates: list[Gate] = Field(default=[], max_length=_MOST_SHOWN)
    devices: list[Device] = Field(default=[], max_length=_MOST_SHOWN)
    verdict_without_devices: _Verdict | None = None
    baseline: dict[str, Any] = {}
    location: str | None = None
    environment: _Environment = _Environment()


def checked_report(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a report, with what every reader asks for and older ones do without.

    Raises:
        ValueError: it is none; the message names the key.
    """
    try:
        ReportSchema.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = list(problem["loc"])
        verb = "are" if any(isinstance(part, int) for part in where) else "is"
        those = f"not a report of edgeproof: its {where[0]} {verb} not a report's"
        raise ValueError(f"{those} ({'.'.join(map(str, where))}: {what_is_wrong(problem)})") from None
    # A report written elsewhere to the documented form has no such lists; its own doubt must not get lost.
    inconclusive = data.get("verdict", "inconclusive") == "inconclusive"
    lists = {
        "subjects": [_filled(subject, {"samples": 0, "warnings": []}) for subject in data["subjects"]],
        "gates": [
            _filled(gate, {"outcome": "inconclusive", "value": None, "ci": None}) for gate in data.get("gates", ())
        ],
        "environment": _filled(data.get("environment", {}), {"attacks": "an unknown attack package"}),
    }
    others = {
        "name": "",
        "recipe_digest": "",
        "verdict": "inconclusive",
        "exit_code": 4,
        "reasons": [],
        "doubts": ["the run's own verdict was inconclusive"] if inconclusive else [],
        "missing": [],
    }
    return _filled({**data, **lists}, others)


def _filled(data: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add what is missing behind what is there, whose order is shown."""
    return {**data, **{key: value for key, value in defaults.items() if key not in data}}
