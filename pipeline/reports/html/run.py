"""Run view for the page's sections: its report, its files, and what both say of a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ....core.reading.counted import counted
from ....stages.statistics.paired import PairedComparison, compare_paired
from ....stages.threat import ball_text
from ...figures.ledger import before
from ...results.report import Report
from ...store.sample_bits import NEEDED, NO_ROUTE
from .draw import Point

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class SubjectBits:
    """What a subject got right, `[N]` each, in the order of `index`; `robust` is after all routes."""

    index: np.ndarray
    label: np.ndarray
    clean: np.ndarray
    robust: np.ndarray


class RunView:
    """A run whose page is made."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.files = report.files
        self.subjects = report.subjects
        self._bits: dict[str, SubjectBits | None] = {}

    @property
    def engines(self) -> list[Mapping[str, Any]]:
        """What ships."""
        return [subject for subject in self.subjects if subject["kind"] == "engine"]

    @cached_property
    def student(self) -> str | None:
        """The float student's name, if the run has one."""
        return next((each["name"] for each in self.subjects if each["name"] == "student"), None)

    @cached_property
    def threat(self) -> str:
        """The threat model in words."""
        return ball_text(self.report.data["threat_model"])

    @cached_property
    def attacks(self) -> str:
        """Package and version of the attacks."""
        return str(self.report.data["environment"].get("attacks", "an unknown attack package"))

    @cached_property
    def stopped(self) -> bool:
        """Whether the attacks ended as soon as the gates were decided: no interval but the run's own holds then."""
        return any("sequential" in subject for subject in self.subjects)

    @cached_property
    def interval_name(self) -> str:
        """What the intervals are."""
        return "95 % confidence sequence" if self.stopped else "95 % Clopper–Pearson interval"

    @cached_property
    def examples(self) -> dict[str, Any]:
        """What `verification/examples.npz` holds."""
        return self.files.arrays("verification/examples.npz") or {}

    @cached_property
    def classes(self) -> list[str]:
        """The classes' names, as far as they are known."""
        found = self.examples.get("classes")
        return [] if found is None else [str(name) for name in found]

    def class_name(self, label: int) -> str:
        """A class in words."""
        if label < 0:
            return "no answer"
        return self.classes[label] if label < len(self.classes) else str(label)

    def series(self, name: str) -> int:
        """The colour and marker of a subject: the same all over the page."""
        return [subject["name"] for subject in self.subjects].index(name)

    def point(self, subject: Mapping[str, Any], figure: str, *, hollow: bool = False) -> Point:
        """A figure of a subject as a drawing shows it."""
        return Point(subject[figure], subject.get(f"{figure}_ci"), self.series(subject["name"]), hollow)

    def label(self, subject: Mapping[str, Any]) -> str:
        """A subject and its precision."""
        precision = subject.get("precision", "unknown")
        return str(subject["name"]) if precision == "unknown" else f"{subject['name']} {precision}"

    def before(self, subject: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What a subject was made from."""
        return before(subject, self.subjects)

    def bits(self, name: str) -> SubjectBits | None:
        """A subject's per-sample bits; None where the run has none."""
        if name not in self._bits:
            self._bits[name] = self._read_bits(name)
        return self._bits[name]

    def paired(self, earlier: Mapping[str, Any], subject: Mapping[str, Any]) -> PairedComparison | None:
        """What a subject loses and gains against another; None where no bits are there, or none of the same samples.

        After a stop that depends on the figures themselves, no interval of a fixed sample holds.
        """
        one, other = self.bits(earlier["name"]), self.bits(subject["name"])
        if self.stopped or one is None or other is None or one.index.tolist() != other.index.tolist():
            return None
        return compare_paired(one.robust, other.robust)

    @cached_property
    def machine(self) -> str:
        """Where the latencies were measured."""
        machine = self.report.data["environment"].get("machine", {})
        cores = "unknown" if machine.get("cores") is None else counted(machine["cores"], "core")
        return f"{machine.get('processor') or machine.get('architecture', 'unknown')}, {cores}"

    def _read_bits(self, name: str) -> SubjectBits | None:
        arrays = self.files.arrays(f"verification/{name}.npz")
        if arrays is None or not {*NEEDED} <= {*arrays}:
            return None
        routes = [key for key in arrays if key not in NO_ROUTE]
        robust = arrays[routes[-1] if routes else "clean_correct"]
        return SubjectBits(arrays["index"], arrays["label"], arrays["clean_correct"], robust)
