"""What quantization costs in robustness, and what brings it back: one student, many engines, all of them attacked.

    python benchmarks/quantization.py --preset digits                       # minutes
    python benchmarks/quantization.py --preset fashion --data-root DATA     # an hour or two on two cores
    python benchmarks/quantization.py --preset fashion --show               # the table of what there is

Every row is an ONNX Runtime engine made of the same float student (two of them: of that student after as many more
epochs as `recover` has, so that nobody takes mere training for recovery). Accuracies are the worst case over replay,
white box and Square on the same test images, every engine's adversarial examples shown to all others. A finished row is
never made again; a killed one goes on. Latencies are measured in turn, beside the float engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from edgeproof.stages.checkpoint import WEIGHTS
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from edgeproof.stages.distill import TrainConfig, TrainingContext, train
from edgeproof.stages.export import export_onnx
from edgeproof.stages.latency.bench import BenchConfig, measure
from edgeproof.stages.models import build_model
from edgeproof.stages.quantize import QuantizeConfig, quantize_student
from edgeproof.stages.recover import RecoverConfig, recover_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import (
    Attacked,
    EngineSubject,
    Evaluation,
    TorchSubject,
    VerifyConfig,
    attack_subject,
    sample,
)
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.figures import FIGURES_FILE
from edgeproof.targets.base import EngineFile, targets
from parallel import in_parallel, one_thread
from rich.console import Console
from rich.table import Table

TARGET = "onnxruntime"
MODEL = "model.onnx"
FLOAT, STUDENT = "float", "student"


@dataclass(frozen=True)
class Preset:
    """Data, networks and budgets.

    Attributes:
        data: keys of DataConfig.
        threat: keys of ThreatModel.
        teacher: the teacher's model, and how it is trained.
        student: the student's model, and how it is distilled.
        recover: keys of RecoverConfig.
        coarse: those that differ where activations have 4 bits.
        samples: test images that are attacked.
    """

    data: dict[str, Any]
    threat: dict[str, Any]
    teacher: tuple[str, dict[str, Any]]
    student: tuple[str, dict[str, Any]]
    recover: dict[str, Any]
    coarse: dict[str, Any]
    samples: int


PRESETS = {
    "digits": Preset(
        {"dataset": "digits"},
        {"norm": "Linf", "eps": 0.1},
        ("cnn8_wide", {"method": "trades", "epochs": 30}),
        ("cnn8_small", {"method": "adaad", "epochs": 30, "learning_rate": 0.2}),
        {"epochs": 15, "learning_rate": 0.02},
        {"epochs": 60, "learning_rate": 0.1, "schedule": "onecycle"},
        300,
    ),
    "digits-mobile": Preset(
        {"dataset": "digits"},
        {"norm": "Linf", "eps": 0.1},
        ("cnn8_wide", {"method": "trades", "epochs": 30}),
        ("mobile_small", {"method": "adaad", "epochs": 60, "learning_rate": 0.2}),
        {"epochs": 15, "learning_rate": 0.02},
        {"epochs": 60, "learning_rate": 0.1, "schedule": "onecycle"},
        300,
    ),
    "fashion": Preset(
        {"dataset": "fashion_mnist", "train": 10_000, "validation": 1_000},
        {"norm": "Linf", "eps": 0.1},
        ("cnn28_wide", {"method": "pgd_at", "epochs": 16, "precision": "bf16-mixed", "augment": ["flip"]}),
        ("cnn28_small", {"method": "adaad", "epochs": 8, "precision": "bf16-mixed", "augment": ["flip"]}),
        {"epochs": 4, "learning_rate": 0.02, "augment": ["flip"]},
        {"epochs": 8, "learning_rate": 0.1, "schedule": "onecycle", "augment": ["flip"]},
        300,
    ),
    "fashion-mobile": Preset(
        {"dataset": "fashion_mnist", "train": 10_000, "validation": 1_000},
        {"norm": "Linf", "eps": 0.1},
        ("cnn28_wide", {"method": "pgd_at", "epochs": 16, "precision": "bf16-mixed", "augment": ["flip"]}),
        ("mobile_small", {"method": "adaad", "epochs": 8, "learning_rate": 0.2, "augment": ["flip"]}),
        {"epochs": 4, "learning_rate": 0.02, "augment": ["flip"]},
        {"epochs": 8, "learning_rate": 0.1, "schedule": "onecycle", "augment": ["flip"]},
        300,
    ),
}

# What is learnt from clean images alone, by the same teacher and trainer.
CLEAN: dict[str, Any] = {"options": {"alpha": 0.0}, "inner": {"steps": 1}}


@dataclass(frozen=True)
class Row:
    """One engine: how its graph is quantized, and how that graph is trained.

    Attributes:
        label: in the table.
        quantize: keys of QuantizeConfig.
        recover: keys of RecoverConfig beside the preset's; None where nothing is trained.
        longer: made of the student that was trained on, by this name; else of the student.
    """

    label: str
    quantize: dict[str, Any]
    recover: dict[str, Any] | None = None
    longer: str | None = None


ADVERSARIAL = {"calibration": {"images": "adversarial"}}
W4 = {"weight_bits": 4}
W4A4 = {"weight_bits": 4, "activation_bits": 4}
PER_TENSOR = {"per_channel": False}
ROWS = {
    FLOAT: Row("float", {"precision": "fp32"}),
    "float-longer": Row("float, as many more epochs", {"precision": "fp32"}, longer="longer"),
    "float-longest": Row("float, as many as for 4-bit activations", {"precision": "fp32"}, longer="longest"),
    "int8": Row("int8, PTQ", {}),
    "int8-adversarial": Row("int8, PTQ, adversarial calibration", ADVERSARIAL),
    "int8-mse": Row("int8, PTQ, MSE calibration", {"calibration": {"method": "mse"}}),
    "int8-clean": Row("int8, fine-tuned on clean images", {}, CLEAN),
    "int8-recover": Row("int8, recover", {}, {}),
    "int8-mixed": Row("mixed", {"precision": "mixed"}),
    "int8-tensor": Row("int8, one scale a tensor, PTQ", PER_TENSOR),
    "int8-tensor-clean": Row("int8, one scale a tensor, fine-tuned on clean images", PER_TENSOR, CLEAN),
    "int8-tensor-recover": Row("int8, one scale a tensor, recover", PER_TENSOR, {}),
    "w4": Row("4-bit weights, PTQ", W4),
    "w4-clean": Row("4-bit weights, fine-tuned on clean images", W4, CLEAN),
    "w4-recover": Row("4-bit weights, recover", W4, {}),
    "w4-recover-fixed": Row("4-bit weights, recover, scales fixed", W4, {"learn_scales": False}),
    "w4a4": Row("4-bit weights and activations, PTQ", W4A4),
    "w4a4-clean": Row("4-bit weights and activations, fine-tuned on clean images", W4A4, CLEAN),
    "w4a4-recover": Row("4-bit weights and activations, recover", W4A4, {}),
    "w4-tensor": Row("4-bit weights, one scale a tensor, PTQ", W4 | PER_TENSOR),
    "w4-tensor-clean": Row("4-bit weights, one scale a tensor, fine-tuned on clean images", W4 | PER_TENSOR, CLEAN),
    "w4-tensor-recover": Row("4-bit weights, one scale a tensor, recover", W4 | PER_TENSOR, {}),
}


@dataclass(frozen=True)
class Bench:
    """A preset, where its files go, and where its data lie."""

    preset: Preset
    out: Path
    data_root: Path | None

    def dataset(self) -> Dataset:
        """The data set in its three splits."""
        return load_dataset(DataConfig.model_validate({**self.preset.data, "root": self.data_root}))

    @property
    def threat(self) -> ThreatModel:
        """The ball."""
        return ThreatModel.model_validate(self.preset.threat)

    def classifier(self, name: str, dataset: Dataset) -> Classifier:
        """The teacher, the student, or a student that was trained on."""
        model = self.preset.teacher[0] if name == "teacher" else self.preset.student[0]
        return Classifier(model, self.out / name / WEIGHTS, dataset.image_shape, len(dataset.class_names))


def make_networks(bench: Bench, rows: Iterable[str]) -> None:
    """Train teacher and student, and for the rows that want it the student on, as long as its graphs are."""
    dataset = bench.dataset()
    shape, classes = dataset.image_shape, len(dataset.class_names)
    model, settings = bench.preset.student
    graphs = {"schedule": "cosine", "weight_decay": 0.0, "warm_start": bench.out / STUDENT / WEIGHTS}
    trainings = {"teacher": bench.preset.teacher, STUDENT: bench.preset.student}
    for name, like in (("longer", bench.preset.recover), ("longest", bench.preset.coarse)):
        if any(ROWS[row].longer == name for row in rows):
            trainings[name] = (model, {**settings, **graphs, **like})
    for name, (model, settings) in trainings.items():
        folder = bench.out / name
        if (folder / WEIGHTS).is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        config = TrainConfig.model_validate(settings)
        teacher = bench.classifier("teacher", dataset).load() if "teacher" in config.needs else None
        network = build_model(model, shape, classes, seed=0)
        running = TrainingContext(folder=folder)
        train(network, dataset, bench.threat, config, teacher=teacher, running=running).save(folder, model=model)


def make_row(bench: Bench, name: str) -> None:
    """Write a row's ONNX file, unless it is there."""
    folder, row = bench.out / name, ROWS[name]
    if (folder / MODEL).is_file():
        return
    dataset = bench.dataset()
    partial = bench.out / f".{name}"
    (partial / "quantized").mkdir(parents=True, exist_ok=True)
    floating = partial / "float.onnx"
    student = bench.classifier(row.longer or STUDENT, dataset)
    export_onnx(student.load(), dataset.image_shape, floating, opset=18)
    config = QuantizeConfig.model_validate(row.quantize)
    source = partial / "quantized"
    target = targets[TARGET]
    quantize_student(floating, config, target.scheme, dataset, bench.threat, source, target=target)
    if row.recover is not None:
        settings = bench.preset.coarse if config.activation_bits == 4 else bench.preset.recover
        recover = RecoverConfig.model_validate({**settings, **row.recover})
        teacher = bench.classifier("teacher", dataset).load()
        running = TrainingContext(folder=partial)
        recover_onnx(source / MODEL, recover, teacher, dataset, bench.threat, partial, running=running)
        source = partial
    folder.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and path.name != "float.onnx":
            os.replace(path, folder / path.name)


def verify_config(bench: Bench) -> VerifyConfig:
    """What every engine is attacked with."""
    return VerifyConfig(samples=bench.preset.samples, shard_size=bench.preset.samples)


def subject_of(bench: Bench, name: str, dataset: Dataset) -> TorchSubject | EngineSubject:
    """The float student, or a row's engine with its twin."""
    if name == STUDENT:
        return TorchSubject(name, bench.classifier(STUDENT, dataset))
    path = bench.out / name / MODEL
    surrogate = bench.out / FLOAT / MODEL
    return EngineSubject(name, EngineFile.of(TARGET, path), path, verify_config(bench).backward, surrogate)


def attack_row(bench: Bench, name: str) -> None:
    """Attack the student or a row's engine, unless that is done."""
    folder = bench.out / "attacks" / name
    if (folder / "attack.json").is_file():
        return
    dataset, config = bench.dataset(), verify_config(bench)
    samples = sample(dataset.test, config)
    order = config.attacks if name == STUDENT else config.routes
    pool = None if name == STUDENT else Attacked.load(bench.out / "attacks" / STUDENT).candidates
    subject = subject_of(bench, name, dataset)
    attack_subject(subject, Evaluation(samples, bench.threat, config), order, folder, pool=pool)


def run(bench: Bench, only: list[str], workers: int, console: Console) -> int:
    """Make and attack all rows; return how many failed."""
    one_thread()
    rows = [name for name in ROWS if not only or name in only or name == FLOAT]
    make_networks(bench, rows)
    make_row(bench, FLOAT)
    failed = in_parallel({name: partial(make_row, bench, name) for name in rows}, workers, console)
    attack_row(bench, STUDENT)
    made = [name for name in rows if (bench.out / name / MODEL).is_file()]
    return failed + in_parallel({f"attack {name}": partial(attack_row, bench, name) for name in made}, workers, console)


def figures(bench: Bench) -> dict[str, Any]:
    """Settle all attacked rows together: everybody's examples on everybody."""
    dataset = bench.dataset()
    names = [STUDENT, *(name for name in ROWS if (bench.out / "attacks" / name / "attack.json").is_file())]
    subjects = {name: subject_of(bench, name, dataset) for name in names}
    attacked = {name: Attacked.load(bench.out / "attacks" / name) for name in names}
    folder = bench.out / "settled"
    for stale in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
        stale.rmdir() if stale.is_dir() else stale.unlink()
    folder.mkdir(exist_ok=True)
    config = verify_config(bench)
    evaluation = Evaluation(sample(dataset.test, config), bench.threat, config)
    aggregate(Ledger(subjects, student=STUDENT), attacked, evaluation, folder)
    return json.loads((folder / FIGURES_FILE).read_text())


def show(bench: Bench, console: Console) -> None:
    """Print the table, as text and as Markdown."""
    found = figures(bench)
    rows = [name for name in ROWS if name in found]
    engines = {name: targets[TARGET].load(EngineFile.of(TARGET, bench.out / name / MODEL), threads=1) for name in rows}
    images = bench.dataset().test.images[:1]
    times = measure(engines, np.ascontiguousarray(images), BenchConfig(repeats=300))
    base_time, base_size = times[FLOAT]["p50"], (bench.out / FLOAT / MODEL).stat().st_size
    columns = ("engine", "clean", "robust", "95 % interval", "retention", "95 % interval", "size", "time", "twin")
    table = Table(title=f"{bench.preset.samples} test images; size and time of the float engine's, batch 1")
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for name in rows:
        figure = found[name]
        agreement = figure.get("twin_agreement", {})
        low, high = figure["robust_accuracy_ci"]
        values = (
            ROWS[name].label,
            f"{figure['clean_accuracy']:.3f}",
            f"{figure['robust_accuracy']:.3f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{figure['retention']:.3f}",
            f"[{figure['retention_ci'][0]:.3f}, {figure['retention_ci'][1]:.3f}]",
            f"{100 * (bench.out / name / MODEL).stat().st_size / base_size:.0f} %",
            f"{times[name]['p50'] / base_time:.2f}",
            f"{agreement['clean']:.3f} / {agreement['adversarial']:.3f}" if agreement else "",
        )
        table.add_row(*values)
        lines.append(f"| {' | '.join(values)} |")
    student = found[STUDENT]
    line = f"torch student: clean {student['clean_accuracy']:.3f}, AutoAttack {student['robust_accuracy']:.3f}"
    console.print(table)
    console.print(line, highlight=False)
    (bench.out / "quantization.md").write_text("\n".join([*lines, "", line]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="digits")
    parser.add_argument("--out", type=Path, help="where files and tables go (default: runs/quantization-<preset>)")
    parser.add_argument("--data-root", type=Path, help="local copies of the data sets")
    parser.add_argument("--only", help="comma-separated names of rows")
    parser.add_argument("--samples", type=int, help="test images (default: the preset's)")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, one thread each")
    parser.add_argument("--show", action="store_true", help="only print what there is")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    if arguments.samples:
        preset = replace(preset, samples=arguments.samples)
    only = arguments.only.split(",") if arguments.only else []
    if unknown := set(only) - ROWS.keys():
        parser.error(f"--only: unknown {', '.join(sorted(unknown))} (known: {', '.join(ROWS)})")
    console = Console(width=150)
    bench = Bench(preset, arguments.out or Path("runs") / f"quantization-{arguments.preset}", arguments.data_root)
    failed = 0 if arguments.show else run(bench, only, arguments.jobs, console)
    show(bench, console)
    sys.exit(3 if failed else 0)


if __name__ == "__main__":
    main()
