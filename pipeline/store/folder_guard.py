"""Folder guard: whether what stands in a place is a command's own to replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from .manifest import MANIFEST, listed
from .place import record_in

RECIPE = "recipe.yaml"
REPORT = "report.json"


@dataclass(frozen=True)
class About:
    """What a result is about, by which two are told apart.

    Attributes:
        models: SHA-256 of its models or engines; of a function what tells it from others.
        dataset: digest of the data set; None where nothing says it.
    """

    models: frozenset[Any]
    dataset: Any

    @classmethod
    def of(cls, models: Iterable[Any], dataset: Any) -> About:
        """From data that may be anybody's.

        Args:
            models: mappings with `sha256`, or digests.
            dataset: a mapping with `digest`.
        """
        digests = (model.get("sha256") if isinstance(model, Mapping) else model for model in models)
        told = dataset.get("digest") if isinstance(dataset, Mapping) else None
        return cls(frozenset(each for each in digests if isinstance(each, str)), told)

    def differs_from(self, other: About) -> str:
        """In what: words for a message, empty where nothing tells them apart."""
        if self.models and other.models and self.models.isdisjoint(other.models):
            return "another model"
        if self.dataset is not None and other.dataset is not None and self.dataset != other.dataset:
            return "another data set"
        return ""


def check_own(root: Path, *, build: bool) -> None:
    """See that a folder holds no run of the other kind, nor a report of somebody else's; before any work is done.

    Args:
        root: the run's folder, which need not be there.
        build: whether it is about to be built in, and not to get a proof of `verify`.

    Raises:
        UsageError: what the folder holds would be lost.
    """
    entries = listed(record_in(root / MANIFEST))
    if entries is None:
        if (root / REPORT).exists() and not (root / ".store").exists():
            raise UsageError(f"--out {root}: holds a report.json that no run here wrote; name another folder")
        return
    if any(entry["path"] == RECIPE for entry in entries) != build:
        holds = "a proof of `verify`" if build else "a build"
        raise UsageError(f"--out {root}: holds {holds}, whose files would be removed; name another folder")


def check_alike(out: Path, before: About | None, now: About) -> None:
    """See that what an earlier call left in a place is about the same model and data set.

    Args:
        out: the place, as `--out` names it.
        before: what it holds; None where that is nothing, or is to be replaced whatever it is about.
        now: what is to stand there.

    Raises:
        UsageError: it is about another.
    """
    if before is not None and (how := before.differs_from(now)):
        raise UsageError(f"--out {out}: holds the result of {how}; name another place, or replace it with --force")


def check_not_stood_in(place: Path, option: str) -> None:
    """See that a folder that is replaced as a whole is not the one that the command runs in.

    Args:
        place: the folder, which need not be there.
        option: what named it.

    Raises:
        UsageError: it is, or lies around it.
    """
    if Path.cwd().is_relative_to(place.resolve()):
        raise UsageError(f"{option} {place}: the command runs there, and the folder is replaced; name a new one")


def proof_in(root: Path) -> About | None:
    """What the finished proof of `verify` in a folder is about; None where there is none."""
    report = record_in(root / REPORT)
    subjects = report.get("subjects")
    if listed(record_in(root / MANIFEST)) is None or not isinstance(subjects, list):
        return None
    given = [each.get("given", each) for each in subjects if isinstance(each, dict)]
    return About.of(given, report.get("dataset"))
