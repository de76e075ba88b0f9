"""Comparison sides: the per-sample bits of a finished run, and what the run says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UsageError
from ...core.registry import nearest
from ..results.finished_run import unaltered_report
from ..results.report import Report
from ..store.sample_bits import NO_ROUTE, pack_manifest, read_columns


@dataclass(frozen=True)
class ProofBits:
    """What one subject got right, and what is known of how it was asked.

    Attributes:
        path: `verification/<subject>.npz`.
        index: data-set rows [N], each once.
        label: [N].
        bits: what it gets right, bool [N].
        routes: how it was attacked; empty where the figure is clean accuracy.
        threat: the run's threat model; None where nothing tells.
        dataset: `name` and `digest`, as far as the run tells them.
        attacks: package and version of the attacks; None where nothing tells.
        doubts: what made the run's verdict on it inconclusive.
        sequential: whether the attacks ended as soon as the run's gates were decided.
    """

    path: Path
    index: np.ndarray
    label: np.ndarray
    bits: np.ndarray
    routes: tuple[str, ...]
    threat: Mapping[str, Any] | None
    dataset: Mapping[str, Any]
    attacks: str | None
    doubts: tuple[str, ...]
    sequential: bool


def is_bits(path: Path) -> bool:
    """Whether a path names a file of bits itself, and no run."""
    return path.suffix == ".npz"


def read_bits(path: Path, figure: str, subject: str | None) -> ProofBits:
    """Find the bits that a path names, and what the run says of them.

    Args:
        path: a run's folder, its report.json, or `verification/<subject>.npz`.
        figure: `robust` or `clean`.
        subject: which one of a run; its only engine when None.

    Raises:
        UsageError: a file is missing or broken, or the run has no such subject, or several engines and none is named.
    """
    if is_bits(path):
        bits, run = path, path.parent.parent
        beside = run / "report.json"
        report = unaltered_report(beside) if beside.is_file() else None
    else:
        beside = path / "report.json" if path.is_dir() else path
        report, run = unaltered_report(beside), beside.parent
        bits = run / "verification" / f"{_chosen(report, beside, subject)}.npz"
    arrays = read_columns(bits)
    routes = tuple(key for key in arrays if key not in NO_ROUTE)
    if figure == "robust" and not routes:
        raise UsageError(f"{bits}: holds no attack's bits; --figure clean compares clean accuracies")
    manifest = pack_manifest(run)
    entry = next((each for each in report.subjects if each["name"] == bits.stem), {}) if report else {}
    return ProofBits(
        path=bits,
        index=arrays["index"],
        label=arrays["label"],
        bits=arrays[routes[-1] if figure == "robust" else "clean_correct"],
        routes=routes if figure == "robust" else (),
        threat=report.data.get("threat_model") if report else manifest.get("threat"),
        dataset=manifest.get("dataset") or {},
        attacks=report.data.get("environment", {}).get("attacks") if report else manifest.get("attacks"),
        doubts=tuple(each for each in (report.data["doubts"] if report else ()) if each.startswith(f"{bits.stem}: ")),
        sequential="sequential" in entry,
    )


def _chosen(report: Report, path: Path, subject: str | None) -> str:
    names = [each["name"] for each in report.subjects]
    if subject is not None:
        if subject not in names:
            raise UsageError(
                f"--subject: {path} has no subject {subject!r}{nearest(subject, names)} (it has: {', '.join(names)})"
            )
        return subject
    engines = [each["name"] for each in report.subjects if each.get("kind") == "engine"]
    if len(engines) != 1:
        raise UsageError(
            f"{path}: has {'several engines' if engines else 'no engine'}; "
            f"name one with --subject: {', '.join(engines or names)}"
        )
    return engines[0]
