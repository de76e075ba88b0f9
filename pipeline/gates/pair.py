"""Comparability of a run and a baseline, and what makes a comparison doubtful."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import UsageError
from ...core.reading.counted import counted
from ..figures.base import Figure
from .baseline import Baseline
from .record import Record, SubjectRecord
from .result import STOPPING


@dataclass(frozen=True)
class Pair:
    """A run and the baseline it is held against.

    Attributes:
        run: the run.
        baseline: the baseline's record.
        about: what the report says of the baseline: `path`, `checksum`, `name`, `notes`.
    """

    run: Record
    baseline: Record
    about: Mapping[str, Any]

    def doubts_on(self, figure: Figure, before: SubjectRecord, after: SubjectRecord) -> list[str]:
        """Why a difference of this figure may not be the engine's doing; then neither pass nor fail follows.

        Another attack finds other adversarial examples: a stronger one makes an unchanged engine look worse, a weaker
        one hides a regression. Clean accuracy, size and latency do not care.
        """
        found: list[str] = []
        if figure.kind in ("share", "retention", "mean") and self._other_data:
            found.append("the data set's digest is another than the baseline's")
        if figure.attacked:
            found += self._other_attacks
            if before.routes != after.routes:
                found.append(f"attacked by {' '.join(after.routes)}, the baseline by {' '.join(before.routes)}")
        return found

    @property
    def _other_data(self) -> bool:
        digests = self.run.dataset.get("digest"), self.baseline.dataset.get("digest")
        return None not in digests and digests[0] != digests[1]

    @property
    def _other_attacks(self) -> list[str]:
        found: list[str] = []
        if self.run.attacks != self.baseline.attacks:
            found.append(f"attacked with {self.run.attacks}, the baseline with {self.baseline.attacks}")
        ours, theirs = self.run.settings, self.baseline.settings
        if ours and theirs and ours != theirs:
            names = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
            found.append(f"attacked with other settings than the baseline ({', '.join(names)})")
        return found

    @property
    def same_processor(self) -> bool:
        """Whether latencies were measured on processors of one name."""
        return self.run.machine.get("processor") == self.baseline.machine.get("processor")

    @property
    def gone(self) -> tuple[str, ...]:
        """Engines of the baseline that the run has not."""
        return tuple(name for name in self.baseline.engines if name not in self.run.engines)


def beside(run: Record, baseline: Baseline) -> Pair:
    """Put a run beside a baseline.

    Raises:
        UsageError: they are of other threat models or data sets.
    """
    before = baseline.record
    if run.threat != before.threat:
        raise UsageError(
            f"--baseline {baseline.path}: its threat model is {_threat(before.threat)}, the run's is "
            f"{_threat(run.threat)}; give that run a baseline of its own"
        )
    names = run.dataset.get("name"), before.dataset.get("name")
    if None not in names and names[0] != names[1]:
        raise UsageError(
            f"--baseline {baseline.path}: its data set is {names[1]!r}, the run's {names[0]!r}; "
            "give that run a baseline of its own"
        )
    about = {"path": str(baseline.path), "checksum": baseline.checksum, "name": before.name}
    return Pair(run, before, {**about, "notes": _notes(run, before)})


def _notes(run: Record, before: Record) -> list[str]:
    """What people should know that changes no outcome."""
    notes: list[str] = []
    if before.verdict in STOPPING:
        notes.append(f"the baseline's own verdict was {before.verdict}")
    if run.edgeproof != before.edgeproof:
        notes.append(f"this run is edgeproof {run.edgeproof}'s, the baseline {before.edgeproof}'s")
    if None in (run.dataset.get("digest"), before.dataset.get("digest")):
        notes.append("nothing tells the digest of one of the data sets; that both are the same is not checked")
    for name in run.engines:
        theirs = before.subjects.get(name)
        if theirs is None:
            continue
        ours = run.subjects[name]
        if ours.about.get("sha256") == theirs.about.get("sha256"):
            notes.append(f"{name}: the same file as the baseline's, so that any difference is the attacks'")
        if len(ours.rows) != len(theirs.rows) or (ours.rows != theirs.rows).any():
            counts = f"{counted(len(ours.rows), 'sample')}, the baseline has {len(theirs.rows)}"
            notes.append(f"{name}: {counts}; the common ones count")
    return notes


def _threat(threat: Mapping[str, Any]) -> str:
    return " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in threat.values())
