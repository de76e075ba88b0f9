"""Model by target by precision: how fast, how small, how robust the engines are.

    python benchmarks/targets.py                                   # 32x32 ResNet-18 and MobileNetV2, random weights
    python benchmarks/targets.py --model resnet18 --threads 2      # the engines beside torch eager
    python benchmarks/targets.py --trained                         # the tests' digits student: accuracies too

Every subject answers in a process of its own, on cores of its own, in turn (`stages/latency/timing.py`); a ratio is the
median over rounds of the ratio of a round's medians, with its 95 % bootstrap interval over the rounds. Neither size nor
time depends on the weights, so that random ones do; `--trained` takes a trained 8x8 student, whose engines are attacked
as `verify` does: label agreement with the twin, robust accuracy, and retention.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arithmetic import int8_peak, operations
from edgeproof.core.errors import StageError
from edgeproof.pipeline.commands.verify import verify
from edgeproof.stages.checkpoint import save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, Split, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.latency.bench import open_eager
from edgeproof.stages.latency.ratios import paired_ratio
from edgeproof.stages.latency.timing import SideBySide, side_by_side
from edgeproof.stages.models import build_model
from edgeproof.stages.quantize import MODEL, QuantizeConfig, quantize_student
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.process.own_process import open_engine
from rich.console import Console
from rich.table import Table
from tests_student import STUDENT

SHAPE, CLASSES = (3, 32, 32), 10
FLOAT, EAGER = "onnxruntime fp32", "torch eager"
PRECISIONS: dict[str, dict[str, Any]] = {"fp32": {"precision": "fp32"}, "int8": {}, "w4a8": {"weight_bits": 4}}
THREAT = {False: {"norm": "Linf", "eps": "8/255"}, True: {"norm": "Linf", "eps": 0.1}}


def random_data(count: int = 64) -> Dataset:
    """Images of the right shape."""
    rng = np.random.default_rng(0)
    images = rng.random((count, *SHAPE), dtype=np.float32)
    split = Split(images, np.arange(count, dtype=np.int64) % CLASSES, np.arange(count, dtype=np.int64))
    return Dataset("random", tuple(map(str, range(CLASSES))), split, split, split)


def random_classifier(name: str, folder: Path) -> Classifier:
    """A model with random weights."""
    weights = folder / "model.safetensors"
    save_weights(build_model(name, SHAPE, CLASSES, seed=0).state_dict(), weights, model=name)
    return Classifier(name, weights, SHAPE, CLASSES)


def built(
    classifier: Classifier, data: Dataset, threat: ThreatModel, wanted: list[str], folder: Path, console: Console
) -> dict[str, EngineFile]:
    """Every target's engine in every precision, by what the table calls them."""
    floating = folder / "float.onnx"
    export_onnx(classifier.load(), classifier.image_shape, floating, opset=18)
    found: dict[str, EngineFile] = {}
    for name in targets.names():
        target = targets[name]
        if not target.available().available:
            console.print(f"{name}: {target.available().reason}", highlight=False, markup=False)
            continue
        for precision in wanted:
            out = folder / f"{name} {precision}"
            out.mkdir()
            config = QuantizeConfig.model_validate(
                {**PRECISIONS[precision], "calibration": {"samples": min(256, len(data.train))}}
            )
            quantize_student(floating, config, target.scheme, data, threat, out)
            try:
                found[f"{name} {precision}"] = target.build(out / MODEL, out / "engine")
            except StageError as error:
                console.print(f"{name} {precision}: {error}", highlight=False, markup=False)
    return found


def robustness(
    engines: dict[str, EngineFile], data: Dataset, threat: ThreatModel, samples: int, folder: Path, workers: int
) -> dict[str, dict[str, Any]]:
    """Clean and robust accuracy of each engine by `verify`, and its agreement with its twin on those images."""
    found: dict[str, dict[str, Any]] = {}
    for label, engine in engines.items():
        graph = folder / label / MODEL
        report = verify(
            engine.path,
            dataset=data.name,
            eps=threat.eps,
            norm=threat.norm,
            samples=samples,
            graph=graph,
            surrogate=folder / "float.onnx",
            target=engine.target,
            out=folder / label / "proof",
            workers=workers,
        )
        found[label] = report.data["subjects"][-1]
    return found


def show(
    title: str,
    measured: SideBySide,
    engines: dict[str, EngineFile],
    attacked: dict[str, dict[str, Any]],
    batch: int,
    console: Console,
) -> list[dict[str, Any]]:
    """Print the table; return its rows."""
    columns = ["", "p50 ms", "p90 ms", f"{FLOAT} / it", f"{EAGER} / it", "KiB", "size / float", "cold start s"]
    columns += ["clean", "robust", "retention", "twin agrees"] if attacked else []
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    times = {label: each.timings[batch] for label, each in measured.models.items()}
    size = {label: engine.path.stat().st_size for label, engine in engines.items()}
    rows: list[dict[str, Any]] = []
    for label in sorted(times, key=lambda label: -times[label].percentile(50)):
        to_float, to_eager = (paired_ratio(times[base].medians, times[label].medians) for base in (FLOAT, EAGER))
        row: dict[str, Any] = {
            "subject": label,
            "p50": times[label].percentile(50),
            "p90": times[label].percentile(90),
            "float_over_it": vars(to_float),
            "eager_over_it": vars(to_eager),
            "size_bytes": size.get(label),
            "cold_start_s": measured.models[label].cold_start,
        }
        cells = [label, f"{row['p50']:.2f}", f"{row['p90']:.2f}", str(to_float), str(to_eager)]
        cells += (
            [f"{size[label] / 1024:.0f}", f"{100 * size[label] / size[FLOAT]:.1f} %"] if label in size else ["", ""]
        )
        cells.append(f"{row['cold_start_s']:.2f}")
        if label in attacked:
            figures, base = attacked[label], attacked[FLOAT]["robust_accuracy"]
            agreement = figures["twin_agreement"]
            row |= {
                "clean_accuracy": figures["clean_accuracy"],
                "robust_accuracy": figures["robust_accuracy"],
                "retention": figures["robust_accuracy"] / base if base else None,
                "twin_agreement": agreement,
            }
            cells += [f"{row['clean_accuracy']:.3f}", f"{row['robust_accuracy']:.3f}"]
            cells += [
                f"{row['retention']:.3f}" if base else "",
                f"{agreement['clean']:.3f}/{agreement['adversarial']:.3f}",
            ]
        table.add_row(*cells)
        rows.append(row)
    console.print(table)
    if measured.others is not None:
        console.print(f"other processes took {100 * measured.others:.1f} % of the cores meanwhile", highlight=False)
    return rows


def compare(classifier: Classifier, data: Dataset, arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Build, time and, where the model is trained, attack every engine of a model."""
    threads, batch = arguments.threads, arguments.batch
    threat = ThreatModel.model_validate(THREAT[arguments.trained])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engines = built(classifier, data, threat, arguments.precision or list(PRECISIONS), folder, console)
        openers: dict[str, Any] = {EAGER: partial(open_eager, classifier, threads)}
        openers |= {label: partial(open_engine, engine, threads) for label, engine in engines.items()}
        images = np.ascontiguousarray(np.resize(data.test.images, (batch, *classifier.image_shape)))
        measured = side_by_side(
            openers, {batch: images}, threads=threads, repeats=arguments.repeats, warmup=30, rounds=arguments.rounds
        )
        attacked: dict[str, dict[str, Any]] = {}
        if arguments.trained:
            attacked = robustness(engines, data, threat, arguments.samples, folder, threads)
        side = classifier.image_shape[1]
        title = f"{classifier.model}, {side}×{side}, batch {batch}, {threads} threads, {arguments.rounds} rounds"
        rows = show(title, measured, engines, attacked, batch, console)
        peak, asked = int8_peak(threads), batch * operations(classifier.load(), classifier.image_shape)
        eager = measured.models[EAGER].timings[batch].percentile(50)
        console.print(
            f"INT8 at its best here: {peak / 1e9:.0f} GOP/s ({threads} threads, product of matrices). "
            f"The {asked / 1e9:.2f} GOP of {classifier.model} take {1e3 * asked / peak:.2f} ms at least; eager takes "
            f"{eager * peak / asked / 1e3:.1f} times that: the limit of every INT8 engine on this machine.",
            highlight=False,
        )
    return {
        "model": classifier.model,
        "threads": threads,
        "batch": batch,
        "others": measured.others,
        "peak": peak,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a registered model (default: resnet18 and mobilenet_v2)")
    parser.add_argument("--precision", action="append", choices=list(PRECISIONS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--trained", action="store_true", help="the tests' trained digits student, attacked too")
    parser.add_argument("--samples", type=int, default=100, help="test images that are attacked")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    console, found = Console(width=170), []
    if arguments.trained:
        found.append(compare(STUDENT, load_dataset(DataConfig(dataset="digits")), arguments, console))
    else:
        for name in arguments.model or ("resnet18", "mobilenet_v2"):
            with tempfile.TemporaryDirectory() as folder:
                found.append(compare(random_classifier(name, Path(folder)), random_data(), arguments, console))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
