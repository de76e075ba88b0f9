"""A finished run in miniature: real engines, noise for attacks, bits from ONNX Runtime asked directly."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.reports import render
from edgeproof.pipeline.results.report import draw_up
from edgeproof.pipeline.store.manifest import manifest_text
from edgeproof.stages.adversarial_pack_manifest import write_manifest
from edgeproof.stages.data import Split
from edgeproof.stages.eight_bit import towards
from edgeproof.stages.statistics.proportions import clopper_pearson
from onnx import numpy_helper

from tests.plain_runtime import session_of

SAMPLES = 60
SUBJECTS = ("student", "onnxruntime")
Right = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Attacks:
    """Noise by subject, two candidates a sample, and the samples."""

    split: Split
    noisy: dict[str, np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        return np.repeat(np.arange(SAMPLES), 2)


def right_by(graph: Path) -> Right:
    """Whether ONNX Runtime gives images their labels; nothing of edgeproof in between."""
    session = session_of(graph)
    name = session.get_inputs()[0].name

    def right(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        (logits,) = session.run(None, {name: images})
        return np.asarray(logits).argmax(1) == labels

    return right


def bits_of(right: Right, attacks: Attacks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean, robust, and robust against rounded images: one sample after the other, the plain way."""
    split = attacks.split
    clean = right(split.images, split.labels)
    robust, rounded = clean.copy(), clean.copy()
    for noisy in attacks.noisy.values():
        as_it_is = right(noisy, split.labels[attacks.rows])
        as_delivered = right(towards(noisy, split.images[attacks.rows]), split.labels[attacks.rows])
        for place, row in enumerate(attacks.rows):
            robust[row] &= as_it_is[place] & as_delivered[place]
            rounded[row] &= as_delivered[place]
    return clean, robust, rounded


def write_run(folder: Path, graph: Path, attacks: Attacks, *, gates: tuple[str, ...] = ("robust_accuracy >= 0.2",)):
    """Lay out a run's folder as a build does."""
    split, right = attacks.split, right_by(graph)
    clean, robust, rounded = bits_of(right, attacks)
    assert 0.3 < robust.mean() < 0.95, "there must be something to lose, and something lost"
    for name in ("engines/onnxruntime", "quantize/u8s8", "adversarial", "verification"):
        (folder / name).mkdir(parents=True)
    shutil.copy(graph, folder / "engines/onnxruntime/model.onnx")
    shutil.copy(graph, folder / "quantize/u8s8/model.onnx")
    built = {"target": "onnxruntime", "file": "model.onnx", "options": {}}
    (folder / "engines/onnxruntime/engine.json").write_text(json.dumps(built))
    for name in SUBJECTS:
        np.savez_compressed(
            folder / f"verification/{name}.npz",
            index=split.index,
            label=split.labels,
            clean_correct=clean,
            robust_8bit=rounded,
            replay=clean,
            rounded=robust,
        )
        kept = clean[attacks.rows]  # a run keeps candidates of what was right as it is
        rows = attacks.rows[kept]
        np.savez_compressed(
            folder / f"adversarial/{name}.npz",
            index=split.index[rows],
            label=split.labels[rows],
            attack=np.full(len(rows), "noise"),
            adversarial=attacks.noisy[name][kept],
            clean=split.images[rows],
            robust=robust[rows],
        )
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    threat = {"norm": "Linf", "eps": 0.4}
    about = {"threat": threat, "dataset": {"name": "digits"}}
    write_manifest(folder / "adversarial", {"student": None, "onnxruntime": digest}, about)
    (folder / "recipe.yaml").write_text("name: small\n")
    report = draw_up(
        name="small",
        recipe_digest="sha256:0",
        threat=threat,
        subjects=[_subject("student", "torch", "0" * 64, clean, robust), _engine(digest, clean, robust)],
        conditions=[Condition.parse_line(gate) for gate in gates],
    )
    for name, text in render(report).items():
        (folder / name).write_text(text)
    list_artifacts(folder)


def list_artifacts(folder: Path) -> None:
    """Write the run's manifest for what stands there."""
    entries: list[dict[str, Any]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "manifest.json"):
        name = path.relative_to(folder).as_posix()
        entry: dict[str, Any] = {"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        if name.startswith(("quantize", "engines")):
            parents = ["quantize/u8s8/k"] if name.startswith("engines") else []
            more = {"seed": 0, "packages": {"onnxruntime": "1.2.3"}, "machine": {}}
            entry |= {"stage": path.parent.relative_to(folder).as_posix(), "key": "k", "parents": parents, **more}
        entries.append(entry)
    manifest = {"request": "asked", "external": {}, "artifacts": entries}
    (folder / "manifest.json").write_text(manifest_text(manifest))


def _subject(name: str, kind: str, digest: str, clean: np.ndarray, robust: np.ndarray) -> dict[str, Any]:
    figures = {"clean_accuracy": clean, "robust_accuracy": robust}
    return {
        "name": name,
        "kind": kind,
        "sha256": digest,
        "samples": SAMPLES,
        **{key: float(bits.mean()) for key, bits in figures.items()},
        **{f"{key}_ci": list(clopper_pearson(int(bits.sum()), SAMPLES)) for key, bits in figures.items()},
        "routes": {"replay": float(clean.mean()), "rounded": float(robust.mean())},
        "warnings": [],
    }


def _engine(digest: str, clean: np.ndarray, robust: np.ndarray) -> dict[str, Any]:
    entry = _subject("onnxruntime", "engine", digest, clean, robust)
    return {**entry, "path": "engines/onnxruntime/model.onnx", "precision": "int8", "size_bytes": 1}


def weakened(graph: Path, out: Path, scale: float = 0.5) -> Path:
    """The same network with noise on its weights."""
    model = onnx.load(graph)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4 and value.dtype == np.int8:
            noise = np.random.default_rng(0).normal(scale=scale * value.std(), size=value.shape)
            changed = (value + noise).round().clip(-127, 127).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    onnx.save(model, out)
    return out
