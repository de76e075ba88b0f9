"""Report: what was measured, and the verdict; `report.json` is its stable form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import UsageError, reason_of
from ...core.reading.json_text import read_json
from ...core.reading.printable import texts_as
from ...core.reading.published_paths import without_places
from ...core.versions import installed_versions
from ...targets.base import targets
from ..gates import NO_GATE, Condition, Verdict, judge
from ..gates.bound_to import KEY, NOTHING, BoundTo, bindings, is_binding
from ..gates.pair import Pair
from ..store.machine import machine
from ..store.run_files import RunFiles
from .device_verdict import with_devices, without_devices
from .report_schema import checked_report

if TYPE_CHECKING:
    from ...stages.verify.figures import SubjectFigures

# What is written, and what is read: 2 says besides what the checks counted.
SCHEMA_VERSION = 3
# Before, a run without gates was called a pass.
MEASURED_SINCE = 3
_READ = (1, 2, 3)
_PACKAGES = ("edgeproof", "torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Report:
    """A report as JSON-able data; all formats are rendered from it.

    Attributes:
        data: the content of `report.json`.
        files: the run's other files, where they are known: what HTML is drawn from.
    """

    data: Mapping[str, Any]
    files: RunFiles = field(default_factory=RunFiles, compare=False)

    @property
    def exit_code(self) -> int:
        """The exit code of the command line."""
        return int(self.data["exit_code"])

    @property
    def subjects(self) -> Sequence[Mapping[str, Any]]:
        """Teacher, student, then every engine."""
        return self.data["subjects"]

    @property
    def bound_to(self) -> BoundTo:
        """What the run's own gates are bound to."""
        return BoundTo.model_validate(self.data.get(KEY, {}))

    def text(self) -> str:
        """The content of `report.json`."""
        return json.dumps(self.data, indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a `report.json`.

        Raises:
            UsageError: the file is missing, no report, or of another schema version.
        """
        try:
            data = read_json(path)
        except FileNotFoundError:
            raise UsageError(f"{path}: no such report") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: not a report (no valid JSON: {reason_of(error)})") from None
        if not isinstance(data, dict) or "subjects" not in data:
            raise UsageError(f"{path}: not a report of edgeproof")
        if (found := data.get("schema_version")) not in _READ:
            raise UsageError(f"{path}: schema_version {found!r}, this edgeproof reads {_READ[0]} to {_READ[-1]}")
        try:
            return cls(_measured(checked_report(data)), RunFiles(path.parent))
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None


def draw_up(
    *,
    name: str,
    recipe_digest: str,
    threat: Mapping[str, Any],
    subjects: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    doubts: Iterable[str] = (),
    missing: Iterable[str] = (),
    dataset: Mapping[str, Any] | None = None,
    verify: Mapping[str, Any] | None = None,
    test_images: int | None = None,
    when: str | None = None,
    bound_to: BoundTo = NOTHING,
) -> Report:
    """Judge the gates and put the report together.

    Args:
        name: of the run.
        recipe_digest: of what was asked for.
        threat: the threat model.
        subjects: in ledger order.
        conditions: the gates; those against a baseline stay open here.
        doubts: findings that make the verdict inconclusive.
        missing: targets that could not be built or attacked.
        dataset: `name` and `digest`.
        verify: the settings of the attacks.
        test_images: of the data set, of which the attacked ones are a draw.
        when: the results of the attacks were put together, in UTC; no digest and no key depends on it.
        bound_to: what the run must have been for its gates.
    """
    doubts, missing = list(doubts), list(missing)
    about: dict[str, Any] = texts_as(
        without_places,
        {
            # Kept, so that other gates judged later on the same figures stay as doubtful as these.
            "doubts": doubts,
            "missing": missing,
            "name": name,
            "recipe_digest": recipe_digest,
            "threat_model": dict(threat),
            **({} if dataset is None else {"dataset": dict(dataset)}),
            **({} if test_images is None else {"test_images": test_images}),
            **({} if when is None else {"when": when}),
            **({} if verify is None else {"verify": dict(verify)}),
            **({KEY: bound_to.asked} if bound_to.asked else {}),
            "subjects": [dict(subject) for subject in subjects],
        },
    )
    verdict = judge(
        conditions, about["subjects"], about["doubts"], about["missing"], bindings=bindings(bound_to, about)
    )
    return Report(
        {
            "schema_version": SCHEMA_VERSION,
            **_verdict(verdict),
            **about,
            "gates": [gate.as_json() for gate in verdict.gates],
            "environment": environment(subject["name"] for subject in subjects if subject["kind"] == "engine"),
        }
    )


def regate(
    report: Report, conditions: Sequence[Condition], against: Pair | None = None, bound_to: BoundTo = NOTHING
) -> Report:
    """Judge other gates on a finished report; doubts and missing targets stay what they were.

    Args:
        report: the report.
        conditions: the gates.
        against: the run beside a baseline, for relative gates.
        bound_to: what the run must have been, before what it says itself.
    """
    bound_to = bound_to.over(report.bound_to)
    asked = {KEY: bound_to.asked} if bound_to.asked else {}
    verdict = judge(
        conditions,
        report.subjects,
        report.data["doubts"],
        report.data["missing"],
        against,
        bindings(bound_to, report.data),
    )
    gates = [gate.as_json() for gate in verdict.gates]
    beside = {} if verdict.baseline is None else {"baseline": dict(verdict.baseline)}
    judged = with_devices({**report.data, **_verdict(verdict), **asked, "gates": gates, **beside})
    return replace(report, data=judged)


def _measured(data: dict[str, Any]) -> dict[str, Any]:
    """A report of before `MEASURED_SINCE` as it would be written now: a run without gates is no pass."""
    own = without_devices(data)
    gated = not all(map(is_binding, data.get("gates", ())))
    if data["schema_version"] >= MEASURED_SINCE or gated or own.get("verdict") != "pass":
        return data
    return with_devices({**own, "verdict": "measured", "reasons": [NO_GATE]})


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.outcome,
        "exit_code": verdict.exit_code,
        "reasons": list(verdict.reasons),
    }


def environment(engines: Iterable[str]) -> dict[str, Any]:
    """Versions of what did the work; the attack package stands beside every robust accuracy.

    Args:
        engines: names of targets, whose runtimes' versions are told; other names are passed over.
    """
    found: dict[str, Any] = {**dict.fromkeys(_PACKAGES), **installed_versions(_PACKAGES)}
    for target in {*engines} & {*targets.names()}:
        found |= targets[target].available().versions
    return {**found, "attacks": f"pyautoattack {version('pyautoattack')}", "machine": machine()}


def torch_subject(
    name: str, sha256: str, figures: SubjectFigures, parameters: int, times: Mapping[str, Any]
) -> dict[str, Any]:
    """The report's entry of the teacher, the student or what pruning left of it; `times` as of `bench_ledger`."""
    return {
        "name": name,
        "kind": "torch",
        "sha256": sha256,
        "parameters": parameters,
        **times,
        **figures.measured(),
        "attacks": dict(figures.routes),
        "checks": figures.counts(),
        "warnings": figures.warnings,
    }


def engine_subject(
    name: str,
    *,
    path: str,
    sha256: str,
    precision: str,
    figures: SubjectFigures,
    times: Mapping[str, Any],
    bench: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    kind: Literal["engine", "step"] = "engine",
) -> dict[str, Any]:
    """The report's entry of an engine; a `step` is one on the way to it, which no gate looks at.

    Args:
        name: the target's, or the step's.
        path: of the engine file, from the run's folder.
        sha256: of the engine file.
        precision: for people.
        figures: what the attacks came to.
        times: `size_bytes`, and `latency_ms` if it was timed; see `bench_ledger`.
        bench: what `bench` wrote.
        calibration: what the calibration sample was.
        options: what the engine was built and run with, where that is not the target's own choice.
        kind: whether it ships.
    """
    entry: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "path": path,
        "sha256": sha256,
        "precision": precision,
        **({"options": dict(options)} if options else {}),
        **times,
    }
    warnings = figures.warnings
    if bench is not None:
        entry["bench"] = {key: value for key, value in bench.items() if key != "warnings"}
        warnings = [*warnings, *bench["warnings"]]
    if calibration is not None:
        entry["calibration"] = {key: value for key, value in calibration.items() if key != "warnings"}
        warnings = [*warnings, *calibration["warnings"]]
    return {
        **entry,
        **figures.measured(),
        **figures.of_engine(),
        "checks": figures.counts(),
        "warnings": warnings,
    }
