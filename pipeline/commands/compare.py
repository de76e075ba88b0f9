"""Paired comparison of two finished runs, sample by sample (`edgeproof compare`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ...core.errors import UsageError
from ...core.reading.counted import counted
from ...stages.statistics.paired import PairedComparison, compare_paired
from ...stages.statistics.proportions import LEVEL, clopper_pearson
from .compare_sides import ProofBits, is_bits, read_bits

COMPARED = ("robust", "clean")
_ALPHA = 0.05
_SHOWN = 10


def compare(
    first: str | Path, second: str | Path, *, figure: str = "robust", subject: str | None = None
) -> dict[str, Any]:
    """Compare two engines on the samples that both were verified on.

    Args:
        first: a run's folder, its report.json, or `verification/<subject>.npz` of a run.
        second: likewise.
        figure: `robust`, after all routes, or `clean`.
        subject: which one of a run to take; left out, its only engine.

    Returns:
        `{figure, threat_model, first, second, samples, lost, gained, difference, ci, level, p, notes, sentence}`:
        `first` and `second` are `{path, subject, samples, accuracy, accuracy_ci, routes, attacks}`, their `samples`
        those of the file, the accuracies and all else over the `samples` in common; `lost` are the data-set rows that
        the first gets right and the second does not, `gained` the other way round; `difference` is second minus first,
        `ci` its Tango interval, `p` of the exact McNemar test; `notes` say what makes the comparison weaker.

    Raises:
        UsageError: a file is missing or broken, a run has several engines and none is named, or the two have no
            sample, not the same data set or not the same threat model in common.
    """
    if figure not in COMPARED:
        raise UsageError(f"--figure: unknown figure {figure!r}; {' or '.join(COMPARED)}")
    paths = Path(first), Path(second)
    if subject is not None and all(is_bits(path) for path in paths):
        raise UsageError("--subject: picks from a run, and two .npz files are given; leave it out")
    one, other = (read_bits(path, figure, subject) for path in paths)
    _same_task(one, other)
    rows, kept, others = np.intersect1d(one.index, other.index, assume_unique=True, return_indices=True)
    if not len(rows):
        raise UsageError(
            f"{other.path}: none of its {len(other.index)} data-set rows is among the {len(one.index)} of {one.path}; "
            "verify both on the same samples (same data set, samples and seed)"
        )
    if differing := int((one.label[kept] != other.label[others]).sum()):
        raise UsageError(
            f"{other.path}: {differing} of {len(rows)} common rows have other labels than in {one.path}; "
            "only engines of the same data set compare"
        )
    before, after = one.bits[kept], other.bits[others]
    found = compare_paired(before, after)
    return {
        "figure": figure,
        "threat_model": one.threat or other.threat,
        "first": _side(one, kept),
        "second": _side(other, others),
        "samples": found.samples,
        **found.as_json(),
        "level": LEVEL,
        "lost": rows[before & ~after].tolist(),
        "gained": rows[~before & after].tolist(),
        "notes": _notes(one, other),
        "sentence": _sentence(found, figure),
    }


def _side(side: ProofBits, kept: np.ndarray) -> dict[str, Any]:
    bits = side.bits[kept]
    return {
        "path": str(side.path),
        "subject": side.path.stem,
        "samples": len(side.index),
        "accuracy": float(bits.mean()),
        "accuracy_ci": list(clopper_pearson(int(bits.sum()), len(bits))),
        "routes": list(side.routes),
        "attacks": side.attacks,
    }


def show_comparison(result: dict[str, Any], console: Console) -> None:
    """Print a comparison for people."""
    first, second, threat = result["first"], result["second"], result["threat_model"]
    under = f", {_threat(threat)}" if threat and result["figure"] == "robust" else ""
    lines = [f"{result['figure']} accuracy on {counted(result['samples'], 'common sample')}{under}:"]
    for letter, side in (("A", first), ("B", second)):
        low, high = side["accuracy_ci"]
        by = f", {side['attacks']}" if side["attacks"] and side["routes"] else ""
        lines.append(
            f"{letter}  {side['accuracy']:.3f} [{low:.3f}, {high:.3f}]  {side['path']} "
            f"({counted(side['samples'], 'sample')}{by})"
        )
    lines += [f"{word} {_rows(result[word])}" for word in ("lost", "gained")]
    low, high = result["ci"]
    lines.append(
        f"difference {result['difference']:+.4f} [{low:+.4f}, {high:+.4f}] ({result['level'] * 100:g} %, Tango), "
        f"p = {result['p']:.3g} (exact McNemar)"
    )
    lines += [f"note: {note}" for note in result["notes"]]
    console.print("\n".join([*lines, result["sentence"]]), highlight=False, markup=False, soft_wrap=True)


def _rows(rows: list[int]) -> str:
    if not rows:
        return "0"
    more = ", …" if len(rows) > _SHOWN else ""
    return f"{len(rows)} (data-set rows {', '.join(map(str, rows[:_SHOWN]))}{more})"


def _sentence(found: PairedComparison, figure: str) -> str:
    """The comparison in plain words; a verdict only where interval and test agree."""
    if not found.lost and not found.gained:
        return f"A and B agree on each of the {found.samples} samples."
    low, high = found.interval
    rejected, apart = found.p_value < _ALPHA, low > 0 or high < 0
    if rejected != apart:
        return (
            "Borderline: of interval and test only one tells A and B apart, "
            f"where they differ, on {counted(found.lost + found.gained, 'sample')}; more samples would decide."
        )
    if not rejected:
        return f"These {found.samples} samples do not tell A and B apart; that does not show that they are equal."
    word = {"robust": "robust", "clean": "accurate"}[figure]
    return f"B is {'less' if found.difference < 0 else 'more'} {word} than A, by more than chance explains."


def _notes(one: ProofBits, other: ProofBits) -> list[str]:
    notes = [
        f"{side.path}: nothing beside it tells its threat model; that both are the same is not checked"
        for side in (one, other)
        if side.threat is None
    ]
    notes += [
        f"{side.path}: attacked until its gates were decided; interval and p are those of a sample of fixed size"
        for side in (one, other)
        if side.sequential
    ]
    notes += [
        f"{side.path}: its run was inconclusive ({'; '.join(side.doubts)})" for side in (one, other) if side.doubts
    ]
    digests = [side.dataset.get("digest") for side in (one, other)]
    if None not in digests and digests[0] != digests[1]:
        # A digest covers training and validation images too, and they depend on the seed.
        notes.append("the data sets' digests differ: other training or validation images, or other test images")
    if one.routes != other.routes:
        notes.append(f"attacked by different routes: A {' '.join(one.routes)}; B {' '.join(other.routes)}")
    if one.routes and one.attacks and other.attacks and one.attacks != other.attacks:
        notes.append(f"attacked with different packages: A {one.attacks}; B {other.attacks}")
    return notes


def _same_task(one: ProofBits, other: ProofBits) -> None:
    if one.threat and other.threat and one.threat != other.threat:
        raise UsageError(
            f"{other.path}: its threat model is {_threat(other.threat)}, that of {one.path} {_threat(one.threat)}; "
            "only engines attacked alike compare"
        )
    names = [side.dataset.get("name") for side in (one, other)]
    if None not in names and names[0] != names[1]:
        raise UsageError(
            f"{other.path}: its data set is {names[1]!r}, that of {one.path} {names[0]!r}; "
            "only engines of the same data set compare"
        )


def _threat(threat: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key} {value:.10g}" if isinstance(value, int | float) else str(value) for key, value in threat.items()
    )
