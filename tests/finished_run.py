"""Finished runs made by hand: a report and its per-sample bits, as far as gates read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.results.report import Report, regate
from edgeproof.stages.statistics.proportions import clopper_pearson, retention, retention_interval

ROUTES = ("replay", "whitebox", "square")
SETTINGS = {"samples": None, "seed": 0, "routes": list(ROUTES), "square_queries": 5000}


def bits(samples: int, broken: Sequence[int] = (), misread: Sequence[int] = (), early: Sequence[int] = ()) -> Any:
    """Columns of a subject: some samples misread, some broken by the last route, some by the one before it."""
    places = np.arange(samples)
    clean = ~np.isin(places, misread)
    white = clean & ~np.isin(places, early)
    robust = white & ~np.isin(places, broken)
    columns = {"clean_correct": clean, "robust_8bit": robust, "replay": clean, "whitebox": white, "square": robust}
    return {"index": 2 * places + 1, "label": places % 10, **columns}


def subject(name: str, columns: Any, **more: Any) -> dict[str, Any]:
    """The report's entry of a subject."""
    samples = len(columns["index"])
    found: dict[str, Any] = {"name": name, "kind": "engine", "sha256": f"{name}'s", "samples": samples}
    routes = [key for key in columns if key not in ("index", "label", "clean_correct", "robust_8bit")]
    for figure, column in (("clean_accuracy", "clean_correct"), ("robust_accuracy", routes[-1])):
        found[figure] = float(columns[column].mean())
        found[f"{figure}_ci"] = list(clopper_pearson(int(columns[column].sum()), samples))
    found["routes"] = {route: float(columns[route].mean()) for route in routes}
    return {**found, "warnings": [], **more}


def finished(
    folder: Path,
    engines: dict[str, Any] | None = None,
    *,
    student: Any = None,
    more: dict[str, dict[str, Any]] | None = None,
    gates: Sequence[dict[str, str]] = (),
    **report: Any,
) -> Path:
    """Write a run of engines (columns by name) and perhaps a student; return its folder."""
    engines = {"onnxruntime": bits(200)} if engines is None else engines
    (folder / "verification").mkdir(parents=True)
    subjects: list[dict[str, Any]] = []
    if student is not None:
        subjects.append(subject("student", student, kind="torch"))
        np.savez_compressed(folder / "verification" / "student.npz", **student)
    for name, columns in engines.items():
        entry = subject(name, columns, **(more or {}).get(name, {}))
        if student is not None and len(student["index"]) == len(columns["index"]):
            entry["retention"] = retention(student["square"], columns["square"])
            entry["retention_ci"] = retention_interval(student["square"], columns["square"])
        subjects.append(entry)
        np.savez_compressed(folder / "verification" / f"{name}.npz", **columns)
    content = {
        "schema_version": 3,
        "verdict": "pass",
        "exit_code": 0,
        "reasons": [],
        "doubts": [],
        "missing": [],
        "name": "digits",
        "recipe_digest": "sha256:0",
        "threat_model": {"norm": "Linf", "eps": 0.1},
        "dataset": {"name": "digits", "digest": "d"},
        "verify": SETTINGS,
        "subjects": subjects,
        "gates": list(gates),
        "environment": {
            "edgeproof": "0.1.0",
            "attacks": "pyautoattack 0.2.0",
            "machine": {"processor": "AMD EPYC", "architecture": "x86_64", "cores": 2},
        },
        **report,
    }
    conditions = [Condition.parse(gate["name"], gate["limit"]) for gate in gates if "name" in gate]
    judged = regate(Report(content), conditions).data | {key: report[key] for key in ("verdict",) if key in report}
    odd = {} if len(conditions) == len(gates) else {"gates": list(gates)}
    (folder / "report.json").write_text(json.dumps({**judged, **odd}))
    return folder
