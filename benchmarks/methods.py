"""Every method from the same teacher to the same student: clean, PGD-20, AutoAttack, speed and cost.

    python benchmarks/methods.py --preset cpu --data-root DATA             # Fashion-MNIST, a few hours on two cores
    python benchmarks/methods.py --preset gpu --data-root DATA             # CIFAR-10
    python benchmarks/methods.py --preset cpu --data-root DATA --speed     # images/s and cost, minutes
    python benchmarks/methods.py --preset cpu --data-root DATA --search    # how the recommended recipe was chosen
    python benchmarks/methods.py --preset cpu --show                       # the table and the plot of what there is

A cell is one student: a method with its options, and a seed. A finished cell is never run again, a killed one goes on
from its last epoch. All students are chosen on the validation split; the test images are touched once, at a cell's end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeproof.stages.checkpoint import WEIGHTS
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Dataset, Split, load_dataset
from edgeproof.stages.distill import TrainConfig, TrainingContext, TrainResult, train
from edgeproof.stages.distill.training.selection import pgd_accuracy
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, TorchSubject, VerifyConfig, attack_subject, sample
from methods_contenders import CONTENDERS, PRESETS, VARIANTS, Preset, contenders
from methods_table import FASTEST, RESULT, SPEED, show
from parallel import in_parallel, one_thread
from rich.console import Console

SEARCH_SAMPLES = 2_000
SEARCH_ATTACKS = ("apgd-ce", "apgd-t")
SPEED_ROUNDS = 3
SPEED_DATA = {"train": 1_280, "validation": 128}
TRAINED, SEARCHED = "trained.json", "searched.json"


@dataclass(frozen=True)
class Cell:
    """One model: which, how it is trained, and where its results go.

    Attributes:
        preset: the conditions.
        model: registered name.
        settings: keys of TrainConfig that differ from the preset's.
        seed: of weights, order, augmentation and starts.
        folder: of its weights and results.
        teachers: the folder of the teachers; None for a teacher.
        data_root: local copies of the data sets.
    """

    preset: Preset
    model: str
    settings: dict[str, Any]
    seed: int
    folder: Path
    teachers: Path | None
    data_root: Path | None

    @property
    def config(self) -> TrainConfig:
        """How it is trained."""
        return TrainConfig.model_validate({**self.preset.common, **self.settings, "seed": self.seed})

    @property
    def threat(self) -> ThreatModel:
        """The ball."""
        return ThreatModel.model_validate(self.preset.threat)

    def dataset(self, **other: Any) -> Dataset:
        """The data set, with other settings than the preset's where given."""
        return load_dataset(DataConfig.model_validate({**self.preset.data, "root": self.data_root, **other}))

    def classifier(self, image_shape: tuple[int, int, int], classes: int) -> Classifier:
        """The trained model."""
        return Classifier(self.model, self.folder / WEIGHTS, image_shape, classes)


def fit(cell: Cell, dataset: Dataset, config: TrainConfig, folder: Path) -> TrainResult:
    """Train a cell's model from the teachers it needs."""
    shape, classes = dataset.image_shape, len(dataset.class_names)

    def companion(name: str) -> torch.nn.Module | None:
        if cell.teachers is None or name not in config.needs:
            return None
        return Classifier(cell.preset.teacher, cell.teachers / name / WEIGHTS, shape, classes).load()

    peer = None
    if "peer" in config.needs:
        peer = build_model(config.peer or cell.model, shape, classes, seed=cell.seed + 1)
    return train(
        build_model(cell.model, shape, classes, seed=cell.seed),
        dataset,
        cell.threat,
        config,
        teacher=companion("teacher"),
        natural_teacher=companion("natural_teacher"),
        peer=peer,
        running=TrainingContext(folder=folder),
    )


def train_cell(cell: Cell) -> dict[str, Any]:
    """Train a cell's model, unless it is; return what is known of its training."""
    done = cell.folder / TRAINED
    if done.is_file():
        return json.loads(done.read_text())
    cell.folder.mkdir(parents=True, exist_ok=True)
    config = cell.config
    result = fit(cell, cell.dataset(), config, cell.folder)
    result.save(cell.folder, model=cell.model)
    best = result.history[result.best_epoch]
    return write(
        done,
        {
            "validation_clean": best.clean_accuracy,
            "validation_pgd": best.pgd_accuracy,
            "best_epoch": best.epoch,
            "seed": cell.seed,
            "config": config.model_dump(mode="json"),
        },
    )


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train and attack a cell's model, unless its result is there; return the result."""
    done = cell.folder / RESULT
    if done.is_file():
        return json.loads(done.read_text())
    trained = train_cell(cell)
    dataset, threat = cell.dataset(), cell.threat
    classifier = cell.classifier(dataset.image_shape, len(dataset.class_names))
    verify = VerifyConfig(samples=cell.preset.samples)
    samples = sample(dataset.test, verify)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clean, pgd = pgd_accuracy(classifier.load().to(device), samples, threat, steps=20, seed=0, device=device)
    attack = cell.folder / "attack"
    attack_subject(TorchSubject("student", classifier), Evaluation(samples, threat, verify), verify.attacks, attack)
    found = Attacked.load(attack)
    return write(
        done,
        {
            **trained,
            "clean": clean,
            "pgd20": pgd,
            "autoattack": float(found.robust.mean()),
            "robust": "".join(str(int(bit)) for bit in found.robust),
            "after": {name: int(bits.sum()) for name, bits in found.bits.items()},
        },
    )


def say_trained(cell: Cell) -> str:
    """Train a cell's model; say how well."""
    return f"validation PGD {train_cell(cell)['validation_pgd']:.3f}"


def say_result(cell: Cell) -> str:
    """Train and attack a cell's model; say how well it stands."""
    found = run_cell(cell)
    return f"clean {found['clean']:.3f}, PGD-20 {found['pgd20']:.3f}, AutoAttack {found['autoattack']:.3f}"


def write(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write JSON whole or not at all, and return it."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)
    return content


@dataclass(frozen=True)
class Bench:
    """A preset, where its cells go, where its data lie, and how it is run."""

    preset: Preset
    out: Path
    data_root: Path | None
    jobs: int
    console: Console

    def student(self, folder: str, settings: dict[str, Any], seed: int = 0) -> Cell:
        """A cell that learns from the teachers."""
        return Cell(self.preset, self.preset.student, settings, seed, self.out / folder, self.out, self.data_root)

    def teachers(self) -> dict[str, Cell]:
        """The robust teacher, and the natural one of the methods that ask two."""
        trainings = {"teacher": self.preset.teacher_training, "natural_teacher": self.preset.natural_training}
        return {
            name: Cell(self.preset, self.preset.teacher, training, 0, self.out / name, None, self.data_root)
            for name, training in trainings.items()
        }

    def make_teachers(self) -> int:
        """Train the teachers; return how many failed."""
        jobs = {name: partial(say_trained, cell) for name, cell in self.teachers().items()}
        return in_parallel(jobs, self.jobs, self.console)


def run(bench: Bench, only: set[str]) -> int:
    """Run every cell that has no result yet, first seeds first and teachers last; return how many failed."""
    if failed := bench.make_teachers():
        return failed
    listed = [each for each in contenders(bench.preset) if not only or each.name in only]
    cells = {
        f"{each.label}, seed {seed}": bench.student(f"{each.name}-{seed}", each.settings, seed)
        for seed in range(max(each.seeds for each in listed))
        for each in listed
        if seed < each.seeds
    }
    jobs = {name: partial(say_result, cell) for name, cell in (cells | bench.teachers()).items()}
    return in_parallel(jobs, bench.jobs, bench.console)


def held_out(cell: Cell) -> Split:
    """Training images that nobody trains on or chooses epochs by: what the recommended recipe is chosen by."""
    used, everything = cell.dataset().train.index, cell.dataset(train=None).train
    rows = np.flatnonzero(~np.isin(everything.index, used))
    return everything.take(np.sort(np.random.default_rng(0).permutation(rows)[:SEARCH_SAMPLES]))


def search_cell(cell: Cell) -> str:
    """Train a candidate, unless it is, and attack it on held-out training images; say how it stands.

    By APGD-CE and APGD-T: PGD on the cross-entropy alone would prefer students that learn by it.
    """
    done = cell.folder / SEARCHED
    if not done.is_file():
        trained = train_cell(cell)
        split = held_out(cell)
        shape = (split.images.shape[1], split.images.shape[2], split.images.shape[3])
        subject = TorchSubject("student", cell.classifier(shape, int(split.labels.max()) + 1))
        attack = cell.folder / "search-attack"
        attack_subject(subject, Evaluation(split, cell.threat, VerifyConfig()), SEARCH_ATTACKS, attack)
        found = Attacked.load(attack)
        write(done, {**trained, "clean": float(found.clean_correct.mean()), "robust": float(found.robust.mean())})
    return f"{json.loads(done.read_text())['robust']:.4f}"


def search(bench: Bench) -> int:
    """Rank the candidates for the recommended recipe: variants, and the contenders' first seeds."""
    if failed := bench.make_teachers():
        return failed
    cells = {each.name: bench.student(f"search/{each.name}", each.settings) for each in VARIANTS}
    cells |= {each.name: bench.student(f"{each.name}-0", each.settings) for each in CONTENDERS}
    failed = in_parallel({name: partial(search_cell, cell) for name, cell in cells.items()}, bench.jobs, bench.console)
    paths = {name: cell.folder / SEARCHED for name, cell in cells.items()}
    found = {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}
    bench.console.print(f"{SEARCH_SAMPLES} held-out training images, one seed", highlight=False)
    for name, result in sorted(found.items(), key=lambda entry: -entry[1]["robust"]):
        figures = f"clean {result['clean']:.4f}  after APGD-CE and APGD-T {result['robust']:.4f}"
        bench.console.print(f"{name:28} {figures}", highlight=False)
    return failed


def measure_speed(bench: Bench) -> int:
    """Time the trainings in turn, alone, one thread each on a CPU; write `speed.json`."""
    if failed := bench.make_teachers():
        return failed
    one_thread()
    cells = {each.name: bench.student(each.name, each.settings) for each in contenders(bench.preset)}
    dataset = next(iter(cells.values())).dataset(**SPEED_DATA)
    found: dict[str, list[float]] = {name: [] for name in cells}
    for _ in range(SPEED_ROUNDS):
        for name, cell in cells.items():
            # The first epoch compiles and warms up.
            config = cell.config.model_copy(update={"epochs": 2})
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(fit(cell, dataset, config, Path(folder)).history[-1].images_per_second)
    cost = {
        name: statistics.median(fast / ours for fast, ours in zip(found[FASTEST], speeds, strict=True))
        for name, speeds in found.items()
    }
    speeds = {
        name: {"images_per_second": statistics.median(each), "cost": cost[name], "lowest": min(each), "most": max(each)}
        for name, each in found.items()
    }
    write(bench.out / SPEED, speeds)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu")
    parser.add_argument("--out", type=Path, help="where cells and tables go (default: runs/methods-<preset>)")
    parser.add_argument("--data-root", type=Path, help="local copies of the data sets")
    parser.add_argument("--only", help="comma-separated names of contenders")
    parser.add_argument("--samples", type=int, help="test images (default: the preset's)")
    parser.add_argument("--jobs", type=int, help="cells at a time (default: 2 on a CPU, 1 on a GPU)")
    parser.add_argument("--against", default="adaad", help="whom the table's differences are from (default: adaad)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--search", action="store_true", help="rank the candidates for the recommended recipe")
    what.add_argument("--speed", action="store_true", help="measure images/s and cost")
    what.add_argument("--show", action="store_true", help="only print and draw what there is")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    if arguments.samples:
        preset = replace(preset, samples=arguments.samples)
    only = set(arguments.only.split(",")) if arguments.only else set()
    if unknown := (only | {arguments.against}) - {contender.name for contender in contenders(preset)}:
        parser.error(f"--only, --against: unknown {', '.join(sorted(unknown))}")
    jobs = arguments.jobs or (1 if torch.cuda.is_available() else 2)
    out = arguments.out or Path("runs") / f"methods-{arguments.preset}"
    bench = Bench(preset, out, arguments.data_root, jobs, Console(width=140))
    failed = 0
    if arguments.search:
        failed = search(bench)
    elif arguments.speed:
        failed = measure_speed(bench)
    elif not arguments.show:
        failed = run(bench, only)
    if not arguments.search:
        show(preset, out, bench.console, arguments.against)
    sys.exit(3 if failed else 0)


if __name__ == "__main__":
    main()
