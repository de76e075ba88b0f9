"""Run record: per-sample bits, figures and provenance that a later run can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bound_to import BoundTo

STUDENT = "student"


@dataclass(frozen=True)
class SubjectRecord:
    """One subject of a run.

    Attributes:
        name: an engine's target, or `student`.
        kind: `engine` or `torch`.
        about: `sha256`, and of an engine `precision`, `options` and the runtime's `version`, as far as they are known.
        rows: data-set rows, int [N], ascending.
        bits: `clean_correct`, `robust_8bit` where it was measured, every route cumulatively, and `robust`, the last;
            bool [N] each.
        routes: in the order in which they attacked.
        figures: those that no bits tell: a value, and an interval or None.
        sequential: whether the attacks ended as soon as the run's gates were decided.
    """

    name: str
    kind: str
    about: Mapping[str, Any]
    rows: np.ndarray
    bits: Mapping[str, np.ndarray]
    routes: tuple[str, ...]
    figures: Mapping[str, tuple[float, tuple[float, float] | None]]
    sequential: bool = False


@dataclass(frozen=True)
class Record:
    """A run.

    Attributes:
        name: the run's.
        verdict: that of its own gates.
        threat: the threat model.
        dataset: `name` and `digest`; empty where nothing tells them.
        attacks: package and version of the attacks.
        settings: of the attacks, as far as they change what is found; empty where the report is older than them.
        seed: of the sample draw and of the attacks; None where nothing tells.
        edgeproof: the version.
        machine: what latencies were measured on.
        subjects: the student, if there is one, and every engine.
        bound_to: what a run must be for gates against this one.
    """

    name: str
    verdict: str
    threat: Mapping[str, Any]
    dataset: Mapping[str, Any]
    attacks: str
    settings: Mapping[str, Any]
    seed: int | None
    edgeproof: str
    machine: Mapping[str, Any]
    subjects: Mapping[str, SubjectRecord] = field(default_factory=dict)
    bound_to: BoundTo = field(default_factory=BoundTo)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines."""
        return tuple(name for name, subject in self.subjects.items() if subject.kind == "engine")
