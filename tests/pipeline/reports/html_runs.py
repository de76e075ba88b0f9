"""Runs' folders made by hand, as far as their page reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.results.report import Report, draw_up
from edgeproof.stages.statistics.proportions import clopper_pearson, retention, retention_interval

SAMPLES = 40
INDEX = np.arange(SAMPLES) * 2
LABEL = np.arange(SAMPLES) % 3
CLEAN = ~np.isin(np.arange(SAMPLES), (5,))
MACHINE = {"system": "Linux", "architecture": "x86_64", "processor": "a processor", "cores": 2}


def subject(
    name: str, fallen: list[int], *, kind: str = "engine", **more: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A subject that reads sample 5 wrongly and loses the fallen ones, the last of them to the last route only."""
    robust = CLEAN & ~np.isin(np.arange(SAMPLES), fallen)
    first = CLEAN & ~np.isin(np.arange(SAMPLES), fallen[:-1])
    kept, clean = int(robust.sum()), int(CLEAN.sum())
    columns = {"replay" if kind == "engine" else "apgd-ce": first, "square": robust}
    routes = {route: float(column.mean()) for route, column in columns.items()}
    radii, shares = [0.0, 0.05, 0.1, 0.2], [clean, clean - 1, kept, kept // 2]
    entry = {
        "name": name,
        "kind": kind,
        "sha256": name[0] * 64,
        "samples": SAMPLES,
        "clean_accuracy": clean / SAMPLES,
        "clean_accuracy_ci": list(clopper_pearson(clean, SAMPLES)),
        "robust_accuracy": kept / SAMPLES,
        "robust_accuracy_ci": list(clopper_pearson(kept, SAMPLES)),
        "routes" if kind == "engine" else "attacks": routes,
        "curve": {
            "samples": SAMPLES,
            "seed": 0,
            "attacks": ["apgd-ce"],
            "radii": radii,
            "accuracy": [share / SAMPLES for share in shares],
            "accuracy_ci": [list(clopper_pearson(share, SAMPLES)) for share in shares],
        },
        "size_bytes": 1000 * (1 + len(fallen)),
        "latency_ms": {"batch": 1, "p50": 0.1 * (1 + len(fallen)), "p90": 1.0, "p99": 2.0},
        "warnings": [],
        **({"precision": "int8"} if kind == "engine" else {"parameters": 10}),
        **more,
    }
    return entry, columns


BUILD = (
    ("teacher", [1], {"kind": "torch"}),
    ("student", [1, 2], {"kind": "torch"}),
    (
        "onnxruntime",
        [1, 2, 3],
        {"retention": 0.97, "retention_ci": [0.9, 1.02], "warnings": ["slow: slower than float"]},
    ),
    ("openvino", [1, 2, 3, 4], {"retention": 0.95, "retention_ci": [0.88, 1.0]}),
)


def write_run(
    folder: Path,
    subjects: Any = BUILD,
    *,
    gates: tuple[str, ...] = ("robust_accuracy >= 0.5",),
    doubts: tuple[str, ...] = (),
    name: str = "planted",
    classes: tuple[str, ...] = ("cat", "dog", "ship"),
    recipe: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a run's folder and return it.

    Args:
        folder: where.
        subjects: name, samples that fall, and more of its entry, for each.
        gates: conditions.
        doubts: what makes it inconclusive.
        name: of the run.
        classes: names by label.
        recipe: its resolved recipe.
        files: further artifacts, as texts.
    """
    (folder / "verification").mkdir(parents=True)
    made = [subject(each, fallen, **more) for each, fallen, more in subjects]
    for entry, robust in made:
        columns = {"index": INDEX, "label": LABEL, "clean_correct": CLEAN, "robust_8bit": CLEAN, **robust}
        np.savez(folder / "verification" / f"{entry['name']}.npz", **columns)
    of_student = next((columns["square"] for entry, columns in made if entry["name"] == "student"), None)
    for entry, columns in made:
        if "retention" in entry and of_student is not None:
            entry["retention"] = retention(of_student, columns["square"])
            entry["retention_ci"] = retention_interval(of_student, columns["square"])
    _examples(folder / "verification" / "examples.npz", [entry["name"] for entry, _ in made], classes)
    report = draw_up(
        name=name,
        recipe_digest="sha256:" + "a" * 64,
        threat={"norm": "Linf", "eps": 0.1},
        subjects=[entry for entry, _ in made],
        conditions=[Condition.parse_line(gate) for gate in gates],
        doubts=doubts,
    )
    data = {**report.data, "environment": {"torch": "2", "attacks": "pyautoattack 0.2.0", "machine": MACHINE}}
    (folder / "report.json").write_text(Report(data).text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe or {"name": name, "distill": {"epochs": 3}}))
    texts = {"student/metrics.csv": METRICS, **(files or {})}
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    artifacts = [
        {
            "path": path,
            "sha256": sha256_of(folder / path),
            "stage": path.rpartition("/")[0],
            "key": "k",
            "parents": ["teacher/k"],
            "seed": 0,
        }
        for path in texts
    ]
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


METRICS = "epoch,loss,clean_accuracy,pgd_accuracy\n1,2.0,0.5,0.3\n2,1.0,0.75,0.5\n"
LAYERS = ("conv1", "conv2")
ASSIGNMENT = {
    "split": "validation",
    "samples": 200,
    "float_robust_accuracy": 0.9,
    "limits": {"robust_accuracy": 0.8},
    "chosen": "int8 but 1 of 2 layers",
    "candidates": [
        {
            "name": f"int8 but {count} of 2 layers" if count else "int8",
            "in_float": list(LAYERS[:count]),
            "clean_accuracy": 0.9,
            "robust_accuracy": 0.8 + count / 100,
            "retention": 1.0,
            "latency_ms": 1.0 + count,
            "size_bytes": 1000,
        }
        for count in (0, 1)
    ],
    "sensitivity": [
        {"layer": layer, "op_type": "Conv", "margin_drop": 0.01, "flipped": 0.005, "weights": 9} for layer in LAYERS
    ],
}


def _examples(path: Path, names: list[str], classes: tuple[str, ...]) -> None:
    count, random = len(names), np.random.default_rng(0)
    clean = random.random((count, 1, 8, 8))
    np.savez(
        path,
        classes=np.array(classes),
        subject=np.array(names),
        index=np.full(count, 2),
        label=np.zeros(count, int),
        lost=np.ones(count, bool),
        attack=np.full(count, "apgd-ce"),
        found_on=np.array(names),
        clean=clean.astype(np.float16),
        adversarial=np.clip(clean + 0.1, 0, 1).astype(np.float16),
        clean_prediction=np.zeros(count, int),
        adversarial_prediction=np.full(count, 1),
        student_clean_prediction=np.zeros(count, int),
        student_adversarial_prediction=np.full(count, -1),
    )
