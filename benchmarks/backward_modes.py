"""How much a wrong backward pass flatters an engine: robust accuracy by backward mode and by quantization.

    python benchmarks/backward_modes.py                                                  # digits; after make quickstart
    python benchmarks/backward_modes.py --dataset fashion_mnist --data-root DATA --samples 300
    python benchmarks/quantization.py --preset fashion --data-root DATA --only float     # trains the latter's student

Every row attacks the same real ONNX Runtime engines (engine forward, three PGD runs of 100 steps); only the gradient
differs; the last row goes on, without any, from the worst that the others found. The INT8 engines swallow their ReLUs,
as ONNX Runtime's quantizer makes them by default; those of 4-bit weights keep them, as edgeproof makes them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from edgeproof.core.memory import keep_freed_memory
from edgeproof.stages.checkpoint import named_model
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, Split, load_dataset
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.export import export_onnx
from edgeproof.stages.margin import margins
from edgeproof.stages.norms.base import norms
from edgeproof.stages.quantize import CalibrationConfig, QuantizeConfig, calibration_split, quantize_onnx, scheme_of
from edgeproof.stages.statistics.proportions import clopper_pearson
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import BackwardMode, load_twin
from edgeproof.stages.verify import VerifyConfig, sample
from edgeproof.stages.verify.attacks.random_search import random_search
from edgeproof.stages.verify.subject.engine_module import AttackableEngine
from edgeproof.targets.base import Engine, EngineFile, Scheme, targets
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

# A student, and the keys of DataConfig that it was trained with.
STUDENTS: dict[str, tuple[Path, dict[str, Any]]] = {
    "digits": (Path("runs/digits/student/model.safetensors"), {}),
    "fashion_mnist": (
        Path("runs/quantization-fashion/student/model.safetensors"),
        {"train": 10_000, "validation": 1_000},
    ),
}
EPS = 0.1
TARGET = targets["onnxruntime"]
SCHEMES = {
    "U8S8": replace(TARGET.scheme, keep_activations=False),
    "S8S8": Scheme("s8s8", "int8", activation_symmetric=True, keep_activations=False),
    "W4A8": scheme_of(QuantizeConfig(weight_bits=4), TARGET.scheme),
    "W4A4": scheme_of(QuantizeConfig(weight_bits=4, activation_bits=4), TARGET.scheme),
}
MODES = {
    "clipped": "zero where clipped, bounds included (torch.clamp)",
    "identity": "identity everywhere",
    "relu": "identity, but zero below a lower clip that is a ReLU (ours)",
    "relu-ceiling": "ours, and zero above the upper clip",
    "smooth": "ours, of the graph whose activations are clipped but not rounded",
}
FLOAT = "the float student's gradient"
REPLAY = "none: the float student's adversarial examples replayed"
WORST = "worst case over all, per sample"
SEARCHED = "and after a random search from there"


def pgd_candidates(model: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int, runs: int) -> list[Tensor]:
    """Return the end points of several PGD runs on the cross-entropy, with long and with short steps."""
    found: list[Tensor] = []
    for run in range(runs):
        torch.manual_seed(run)
        attack = InnerMaximisation(norms["Linf"], eps, eps / (4, 10, 25)[run % 3], steps, "uniform")
        found.append(attack.run(lambda z: F.cross_entropy(model(z), y, reduction="sum"), x))
    return found


def robust(engine: Engine, clean: np.ndarray, labels: np.ndarray, candidates: list[Tensor]) -> np.ndarray:
    """Return which samples the engine still gets right on every candidate."""
    kept = engine(clean).argmax(1) == labels
    for images in candidates:
        kept &= engine(images.numpy()).argmax(1) == labels
    return kept


def searched(engine: Engine, test: Split, tried: Sequence[np.ndarray], eps: float, queries: int) -> np.ndarray:
    """Return which samples withstand a random search that begins at the worst of the images that were tried."""
    every = np.stack([margins(engine(images), test.labels) for images in tried])
    points = np.stack(tried)[every.argmin(0), np.arange(len(test))]

    def ask(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        logits = engine(images)
        return np.where(logits.argmax(1) == test.labels[rows], margins(logits, test.labels[rows]), -np.inf)

    left = ask(points, np.arange(len(test)))
    random_search(ask, test.images, points, left, ThreatModel(norm="Linf", eps=eps), queries=queries, seed=0)
    return ~np.isneginf(left)


def table(
    student: Classifier,
    dataset: Dataset,
    test: Split,
    folder: Path,
    *,
    schemes: Mapping[str, Scheme] = SCHEMES,
    eps: float = EPS,
    steps: int = 100,
    runs: int = 3,
    queries: int = 5000,
    modes: Sequence[str] = tuple(MODES),
) -> dict[str, dict[str, float]]:
    """Measure robust accuracy by gradient (rows) and scheme (columns); `float` holds the student's own.

    Args:
        student: the float student.
        dataset: its training split gives the calibration images.
        test: what is attacked.
        folder: where the engines go.
        schemes: how the student is quantized, by name.
        eps: of the Linf ball.
        steps: of every PGD run.
        runs: with other starts and step lengths.
        queries: of the random search.
        modes: the backward passes that are compared.
    """
    x, y = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    model = student.load()
    from_float = pgd_candidates(model, x, y, eps, steps=steps, runs=runs)
    with torch.no_grad():
        kept = torch.stack([model(images).argmax(1) == y for images in (x, *from_float)]).all(0)
    result: dict[str, dict[str, float]] = {"float": {"student": float(kept.float().mean())}}
    graph = folder / "float.onnx"
    export_onnx(model, student.image_shape, graph, opset=18)
    calibration = calibration_split(dataset.train, CalibrationConfig()).images
    for name, scheme in schemes.items():
        begin = time.time()
        path = folder / f"{name}.onnx"
        quantize_onnx(graph, path, scheme, calibration)
        engine = TARGET.load(EngineFile.of("onnxruntime", path))
        gradients: dict[str, nn.Module] = {
            MODES[mode]: load_twin(path, backward=cast(BackwardMode, mode)) for mode in modes
        }
        found = {
            label: pgd_candidates(AttackableEngine(engine, gradient), x, y, eps, steps=steps, runs=runs)
            for label, gradient in {**gradients, FLOAT: model}.items()
        }
        bits = {
            label: robust(engine, test.images, test.labels, candidates)
            for label, candidates in {**found, REPLAY: from_float}.items()
        }
        bits[WORST] = np.logical_and.reduce(list(bits.values()))
        tried = [test.images, *(images.numpy() for images in chain.from_iterable(found.values()))]
        bits[SEARCHED] = bits[WORST] & searched(engine, test, tried, eps, queries)
        for label, column in bits.items():
            result.setdefault(label, {})[name] = float(column.mean())
        Console(stderr=True).print(f"{name}: {time.time() - begin:.0f} s", highlight=False)
    return result


def with_interval(share: float, samples: int) -> str:
    """A share of the samples, with its 95 % interval."""
    low, high = clopper_pearson(round(share * samples), samples)
    return f"{share:.3f} [{low:.3f}, {high:.3f}]"


def show(result: Mapping[str, Mapping[str, float]], dataset: str, samples: int) -> str:
    """Print the table, and return it as Markdown."""
    shown = Table(title=f"{dataset}, {samples} test images")
    columns = ("backward pass", *result[WORST])
    for place, column in enumerate(columns):
        shown.add_column(column, justify="right" if place else "left")
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    for label, row in result.items():
        if label == "float":
            continue
        values = [
            with_interval(share, samples) if label in (WORST, SEARCHED) else f"{share:.3f}" for share in row.values()
        ]
        shown.add_row(label, *values)
        lines.append(f"| {label} | {' | '.join(values)} |")
    line = f"{dataset}, {samples} test images, eps {EPS:g}; 95 % intervals in brackets. "
    line += f"The float student under the same PGD: {with_interval(result['float']['student'], samples)}."
    Console(width=165).print(shown)
    return "\n".join([*lines, "", line]) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=sorted(STUDENTS), default="digits")
    parser.add_argument("--data-root", type=Path, help="local copies of the data sets")
    parser.add_argument("--student", type=Path, help="its weights (default: what the commands above leave in runs/)")
    parser.add_argument("--student-model", help="its model, where the file does not tell it")
    parser.add_argument("--samples", type=int, help="test images, a seeded draw (default: all)")
    parser.add_argument("--only", help=f"comma-separated engines (default: {','.join(SCHEMES)})")
    parser.add_argument("--queries", type=int, default=5000, help="budget of the random search (default: 5000)")
    parser.add_argument("--markdown", type=Path, help="a file for the table as Markdown (it is printed anyway)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else list(SCHEMES)
    if unknown := set(only) - set(SCHEMES):
        parser.error(f"--only: unknown: {', '.join(sorted(unknown))} (known: {', '.join(SCHEMES)})")
    torch.set_num_threads(1)
    keep_freed_memory()
    weights, data = STUDENTS[arguments.dataset]
    dataset = load_dataset(DataConfig(dataset=arguments.dataset, root=arguments.data_root, **data))
    test = sample(dataset.test, VerifyConfig(samples=arguments.samples))
    weights = arguments.student or weights
    model = arguments.student_model or named_model(weights)
    if model is None:
        parser.error(f"{weights} does not tell its model: --student-model")
    student = Classifier(model, weights, dataset.image_shape, len(dataset.class_names))
    with tempfile.TemporaryDirectory() as folder:
        schemes = {name: SCHEMES[name] for name in only}
        result = table(student, dataset, test, Path(folder), schemes=schemes, queries=arguments.queries)
    if arguments.json:
        print(json.dumps({"dataset": arguments.dataset, "samples": len(test), "robust": result}, indent=1))
        return
    markdown = show(result, arguments.dataset, len(test))
    print(markdown, end="")
    if arguments.markdown is not None:
        arguments.markdown.write_text(markdown)


if __name__ == "__main__":
    main()
