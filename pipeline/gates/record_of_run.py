"""Record of a finished run, drawn from its report and its per-sample bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..figures.base import ROBUST, Subject
from ..figures.table import gated
from ..store.sample_bits import NO_ROUTE, pack_manifest, read_columns
from .bound_to import KEY, BoundTo
from .record import STUDENT, Record, SubjectRecord

# Settings of the attacks that change nothing of what they find, or that stand in the record by themselves.
_NO_SETTINGS = ("samples", "seed", "isolate", "shard_size")


def record_of(data: Mapping[str, Any], folder: Path) -> Record:
    """Draw up the record of a finished run.

    Args:
        data: the content of its report.json, which is known to be what the bits give; see `finished_report`.
        folder: where that lies, with `verification/` beside it.

    Raises:
        UsageError: bits are missing or broken.
    """
    environment = data.get("environment", {})
    verify = data.get("verify", {})
    dataset = data.get("dataset") or pack_manifest(folder).get("dataset") or {}
    return Record(
        name=str(data.get("name")),
        verdict=str(data.get("verdict")),
        threat=data.get("threat_model", {}),
        dataset={key: dataset[key] for key in ("name", "digest") if key in dataset},
        attacks=str(environment.get("attacks")),
        settings={key: value for key, value in verify.items() if key not in _NO_SETTINGS},
        seed=verify.get("seed"),
        edgeproof=str(environment.get("edgeproof")),
        machine={key: environment.get("machine", {}).get(key) for key in ("processor", "architecture", "cores")},
        subjects={
            subject["name"]: _subject(subject, folder)
            for subject in data["subjects"]
            if subject["kind"] == "engine" or subject["name"] == STUDENT
        },
        bound_to=BoundTo.model_validate(data.get(KEY, {})),
    )


def _subject(subject: Subject, folder: Path) -> SubjectRecord:
    path = folder / "verification" / f"{subject['name']}.npz"
    columns = read_columns(path)
    order = np.argsort(columns["index"])
    routes = tuple(key for key in columns if key not in NO_ROUTE)
    bits = {key: column[order] for key, column in columns.items() if key not in ("index", "label")}
    bits[ROBUST] = bits[routes[-1]] if routes else bits["clean_correct"]
    if subject["kind"] != "engine":  # of the student retention alone is told
        routes = routes[-1:]
        bits = {key: bits[key] for key in ("clean_correct", *routes, ROBUST)}
    kept = ("sha256", "precision", "options", "size_bytes")
    return SubjectRecord(
        name=subject["name"],
        kind=subject["kind"],
        about={key: subject[key] for key in kept if subject.get(key) is not None},
        rows=columns["index"][order],
        bits=bits,
        routes=routes,
        figures=_figures(subject) if subject["kind"] == "engine" else {},
        sequential="sequential" in subject,
    )


def _figures(subject: Subject) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """The figures that no bits tell."""
    found = {
        figure.name: (figure.value(subject), figure.interval(subject))
        for figure in gated()
        if figure.kind in ("mean", "ratio", "number")
    }
    return {name: (value, interval) for name, (value, interval) in found.items() if value is not None}
