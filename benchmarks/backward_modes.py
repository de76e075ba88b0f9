"""How much a wrong backward pass flatters an INT8 engine: robust accuracy by backward mode and scheme.

    python benchmarks/backward_modes.py --student runs/digits/student/model.safetensors

Every row attacks the same real ONNX Runtime engines (engine forward, three PGD runs of 100 steps on all 500 test
images of the digits); only the gradient differs. The engines swallow their ReLUs, as ONNX Runtime's quantizer makes
them by default.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from edgeproof.stages.checkpoint import read_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.stages.twin import BackwardMode, load_twin
from edgeproof.stages.verify.attackable import AttackableEngine
from edgeproof.targets.base import Engine, EngineFile, Scheme, targets
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

SCHEMES = {
    "U8S8": replace(targets["onnxruntime"].scheme, keep_activations=False),
    "S8S8": Scheme("s8s8", "int8", activation_symmetric=True, keep_activations=False),
}
MODES = {
    "clipped": "zero where clipped, bounds included (torch.clamp)",
    "identity": "identity everywhere",
    "relu": "identity, but zero below a lower clip that is a ReLU (ours)",
    "relu-ceiling": "ours, and zero above the upper clip",
}
FLOAT = "the float student's gradient"
REPLAY = "none: the float student's adversarial examples replayed"
WORST = "worst case over all, per sample"


def pgd_candidates(model: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int, runs: int) -> list[Tensor]:
    """Return the end points of several PGD runs on the cross-entropy, with long and with short steps."""
    found: list[Tensor] = []
    for run in range(runs):
        torch.manual_seed(run)
        attack = InnerMaximisation("Linf", eps, eps / (4, 10, 25)[run % 3], steps, "uniform")
        found.append(attack.run(lambda z: F.cross_entropy(model(z), y, reduction="sum"), x))
    return found


def robust(engine: Engine, clean: np.ndarray, labels: np.ndarray, candidates: list[Tensor]) -> np.ndarray:
    """Return which samples the engine still gets right on every candidate."""
    kept = engine(clean).argmax(1) == labels
    for images in candidates:
        kept &= engine(images.numpy()).argmax(1) == labels
    return kept


def table(
    student: Classifier, dataset: Dataset, folder: Path, *, eps: float = 0.1, steps: int = 100, runs: int = 3
) -> dict[str, dict[str, float]]:
    """Measure robust accuracy by gradient (rows) and scheme (columns); `float` holds the student's own."""
    x, y = torch.from_numpy(dataset.test.images), torch.from_numpy(dataset.test.labels)
    model = student.load()
    from_float = pgd_candidates(model, x, y, eps, steps=steps, runs=runs)
    with torch.no_grad():
        kept = torch.stack([model(images).argmax(1) == y for images in (x, *from_float)]).all(0)
    result: dict[str, dict[str, float]] = {"float": {"student": float(kept.float().mean())}}
    graph = folder / "float.onnx"
    export_onnx(model, student.image_shape, graph, opset=18)
    calibration = calibration_split(dataset.train, CalibrationConfig()).images
    for name, scheme in SCHEMES.items():
        path = folder / f"{name}.onnx"
        quantize_onnx(graph, path, scheme, calibration)
        engine = targets["onnxruntime"].load(EngineFile.of("onnxruntime", path))
        gradients: dict[str, nn.Module] = {
            label: load_twin(path, backward=cast(BackwardMode, mode)) for mode, label in MODES.items()
        }
        found = {
            label: pgd_candidates(AttackableEngine(engine, gradient), x, y, eps, steps=steps, runs=runs)
            for label, gradient in {**gradients, FLOAT: model}.items()
        }
        bits = {
            label: robust(engine, dataset.test.images, dataset.test.labels, candidates)
            for label, candidates in {**found, REPLAY: from_float}.items()
        }
        bits[WORST] = np.logical_and.reduce(list(bits.values()))
        for label, column in bits.items():
            result.setdefault(label, {})[name] = float(column.mean())
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--student", type=Path, default=Path("runs/digits/student/model.safetensors"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(DataConfig(dataset="digits"))
    _, model = read_weights(arguments.student)
    student = Classifier(str(model), arguments.student, dataset.image_shape, len(dataset.class_names))
    with tempfile.TemporaryDirectory() as folder:
        result = table(student, dataset, Path(folder))
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    shown = Table("backward pass", *SCHEMES, title=f"float student: {result['float']['student']:.3f}")
    for label, row in result.items():
        if label != "float":
            shown.add_row(label, *(f"{row[name]:.3f}" for name in SCHEMES))
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
