"""Figures of an attacked subject: accuracies, what it keeps of the student's, findings; what reports are drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...core.reading.json_text import read_json
from ..statistics.estimate import Estimate
from ..statistics.paired import PairedComparison
from .checks.base import Finding
from .measures.corruption_accuracy import CorruptionAccuracy
from .measures.curve import RadiusCurve

FIGURES_FILE = "verification/figures.json"


@dataclass(frozen=True)
class TwinShares:
    """Shares of the clean images, and of the adversarial ones, on which twin and engine give one label."""

    clean: float
    adversarial: float


@dataclass(frozen=True)
class Stopped:
    """Attacks that ended as soon as the gates were decided: of how many samples a draw was attacked, at which error."""

    population: int
    error: float


@dataclass(frozen=True)
class BesideStudent:
    """A subject beside the float student, on the same samples.

    Attributes:
        retention: robust accuracy over the student's; None where that keeps no sample.
        paired: the student, then the subject, sample by sample; None of the student itself.
    """

    retention: Estimate | None
    paired: PairedComparison | None = None

    def as_json(self) -> dict[str, Any]:
        """`{retention, retention_ci, against_student: {lost, gained, difference, ci, p}}`."""
        kept = {"retention": None, "retention_ci": None}
        if self.retention is not None:
            kept = self.retention.as_json("retention")
        return {**kept, **({} if self.paired is None else {"against_student": self.paired.as_json()})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BesideStudent | None:
        """Read what `as_json` wrote; None where a run has no student."""
        if "retention" not in data:
            return None
        against = data.get("against_student")
        kept = Estimate.from_json(data, "retention")
        return cls(kept, None if against is None else PairedComparison.from_json(against, data["samples"]))


# What was asked, of how many (None where that says nothing), what came out, how often.
Row = tuple[str, int | None, str, int]


@dataclass(frozen=True)
class CheckRecord:
    """What a check counted: its counters by name, and its rows of the page, which need no plug-in to be shown."""

    counts: Mapping[str, int]
    rows: tuple[Row, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckRecord:
        """Read the fields."""
        return cls(data["counts"], tuple((row[0], row[1], row[2], row[3]) for row in data["rows"]))


@dataclass(frozen=True)
class SubjectFigures:
    """All that was found of one subject.

    Attributes:
        samples: that were attacked.
        clean_accuracy: share of them that is right as they are.
        robust_accuracy: share that withstands all routes.
        robust_accuracy_8bit: share that withstands all images of 8 bits; None where that was not measured.
        routes: share that is left after each route, in their order.
        findings: what speaks against the figures.
        checks: what each check counted; empty where it was read from a run of edgeproof 0.1.
        meanings: what each route does, in a line, for readers who have not the plug-in that it is of.
        twin_agreement: None without a twin.
        stopped: None where all samples were attacked.
        corrupted: accuracy under common corruptions; None where it was not asked for.
        curve: accuracy over eps; likewise.
        beside: beside the float student; None where there is none.
    """

    samples: int
    clean_accuracy: Estimate
    robust_accuracy: Estimate
    robust_accuracy_8bit: Estimate | None
    routes: Mapping[str, float]
    findings: tuple[Finding, ...] = ()
    checks: Mapping[str, CheckRecord] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    twin_agreement: TwinShares | None = None
    stopped: Stopped | None = None
    corrupted: CorruptionAccuracy | None = None
    curve: RadiusCurve | None = None
    beside: BesideStudent | None = None

    @property
    def warnings(self) -> list[str]:
        """The findings in words."""
        return [str(finding) for finding in self.findings]

    def doubts(self, name: str) -> list[str]:
        """The findings that make a verdict inconclusive, with the subject's name."""
        return [f"{name}: {finding}" for finding in self.findings if finding.inconclusive]

    def counts(self) -> dict[str, dict[str, int]]:
        """The checks' counters by name, as the report has them."""
        return {name: dict(check.counts) for name, check in self.checks.items()}

    def measured(self) -> dict[str, Any]:
        """Accuracies, and what was measured besides, as a subject of the report has them."""
        rounded = self.robust_accuracy_8bit
        return {
            "samples": self.samples,
            **self.clean_accuracy.as_json("clean_accuracy"),
            **self.robust_accuracy.as_json("robust_accuracy"),
            **({} if rounded is None else rounded.as_json("robust_accuracy_8bit")),
            **({} if self.stopped is None else {"sequential": asdict(self.stopped)}),
            **({} if self.corrupted is None else self.corrupted.as_json()),
            **({} if self.curve is None else {"curve": self.curve.as_json()}),
        }

    def of_engine(self) -> dict[str, Any]:
        """What the report tells of engines alone: beside the student, by route, agreement with the twin."""
        return {
            **({} if self.beside is None else self.beside.as_json()),
            "routes": dict(self.routes),
            **({} if self.twin_agreement is None else {"twin_agreement": asdict(self.twin_agreement)}),
        }

    def as_json(self) -> dict[str, Any]:
        """All of it, as `from_json` reads it."""
        return {
            **self.measured(),
            **self.of_engine(),
            "findings": [asdict(finding) for finding in self.findings],
            "checks": {name: asdict(check) for name, check in self.checks.items()},
            "meanings": dict(self.meanings),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SubjectFigures:
        """Read what `as_json` wrote, by this version or 0.1.

        Raises:
            KeyError: an accuracy is missing.
        """
        clean, robust = (Estimate.from_json(data, name) for name in ("clean_accuracy", "robust_accuracy"))
        if clean is None or robust is None:
            raise KeyError("clean_accuracy or robust_accuracy")
        twin, stopped, curve = (data.get(key) for key in ("twin_agreement", "sequential", "curve"))
        return cls(
            samples=data["samples"],
            clean_accuracy=clean,
            robust_accuracy=robust,
            robust_accuracy_8bit=Estimate.from_json(data, "robust_accuracy_8bit"),
            routes=data["routes"],
            findings=tuple(Finding(**finding) for finding in data["findings"]),
            checks={name: CheckRecord.from_json(check) for name, check in data.get("checks", {}).items()},
            meanings=data.get("meanings", {}),
            twin_agreement=None if twin is None else TwinShares(**twin),
            stopped=None if stopped is None else Stopped(**stopped),
            corrupted=CorruptionAccuracy.from_json(data),
            curve=None if curve is None else RadiusCurve.from_json(curve),
            beside=BesideStudent.from_json(data),
        )


def write_figures(folder: Path, figures: Mapping[str, SubjectFigures]) -> None:
    """Write `verification/figures.json` into a folder that has `verification/`."""
    text = json.dumps({name: each.as_json() for name, each in figures.items()}, indent=1)
    (folder / FIGURES_FILE).write_text(text)


def read_figures(path: Path) -> dict[str, SubjectFigures]:
    """Read what `write_figures` wrote: the figures by subject."""
    return {name: SubjectFigures.from_json(each) for name, each in read_json(path).items()}
