"""Every method from the same teacher to the same student: clean, PGD-20, AutoAttack, speed and cost.

    python benchmarks/methods.py --preset cpu --data-root DATA      # Fashion-MNIST, a few hours on two cores
    python benchmarks/methods.py --preset gpu --data-root DATA      # CIFAR-10
    python benchmarks/methods.py --preset cpu --show                # the table and the plot of what there is
    python benchmarks/methods.py --preset cpu --search              # how the recommended recipe was chosen

A cell is one student: a method with its options, and a seed. A finished cell is never run again, a killed one goes on
from its last epoch. All students are chosen on the validation split; the test images are touched once, at a cell's end.
Speeds are measured while `--jobs` cells run beside each other, one thread each on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeproof.stages.checkpoint import WEIGHTS
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Split, load_dataset
from edgeproof.stages.distill import Running, TrainConfig, train
from edgeproof.stages.distill.selection import pgd_accuracy
from edgeproof.stages.freed_memory import keep_freed_memory
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, TorchSubject, VerifyConfig, attack_subject, sample
from edgeproof.stages.verify.orphan import end_with
from edgeproof.stages.verify.statistics import clopper_pearson
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Contender:
    """One row of the table: settings that differ from the preset's.

    Attributes:
        name: of its folder.
        label: in the table.
        settings: keys of TrainConfig.
        seeds: how many students.
    """

    name: str
    label: str
    settings: dict[str, Any]
    seeds: int = 1


@dataclass(frozen=True)
class Preset:
    """The conditions that all contenders share."""

    data: dict[str, Any]
    threat: dict[str, Any]
    teacher: str
    student: str
    teacher_training: dict[str, Any]
    natural_training: dict[str, Any]
    common: dict[str, Any]
    samples: int
    recommended: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "cpu": Preset(
        data={"dataset": "fashion_mnist", "train": 10_000, "validation": 1_000},
        threat={"norm": "Linf", "eps": 0.1},
        teacher="cnn28_wide",
        student="cnn28_small",
        teacher_training={"method": "pgd_at", "epochs": 16, "augment": ["flip"]},
        natural_training={"method": "standard", "epochs": 12, "augment": [{"shift": 2}, "flip"]},
        common={"epochs": 8, "batch_size": 128, "learning_rate": 0.1, "precision": "bf16-mixed", "augment": ["flip"]},
        samples=1_000,
    ),
    "gpu": Preset(
        data={"dataset": "cifar10", "validation": 1_000},
        threat={"norm": "Linf", "eps": "8/255"},
        teacher="wrn_16_4",
        student="resnet18",
        teacher_training={"method": "trades", "epochs": 30, "batch_size": 256, "augment": ["shift", "flip"]},
        natural_training={"method": "standard", "epochs": 20, "batch_size": 256, "augment": ["shift", "flip"]},
        common={
            "epochs": 30,
            "batch_size": 256,
            "learning_rate": 0.1,
            "precision": "bf16-mixed",
            "augment": ["shift", "flip"],
        },
        samples=1_000,
    ),
}

CONTENDERS = (
    Contender("pgd_at", "PGD-AT", {"method": "pgd_at"}, seeds=3),
    Contender("trades", "TRADES", {"method": "trades"}, seeds=3),
    Contender("mart", "MART", {"method": "mart"}),
    Contender("ard", "ARD", {"method": "ard"}),
    Contender("akd2", "AKD²", {"method": "akd2"}),
    Contender("iad", "IAD-I", {"method": "iad"}),
    Contender("iad2", "IAD-II", {"method": "iad2"}),
    Contender("rslad", "RSLAD", {"method": "rslad"}),
    Contender("adaad", "AdaAD", {"method": "adaad"}, seeds=3),
    Contender("adaiad", "AdaIAD", {"method": "adaiad"}),
    Contender("mtard", "MTARD", {"method": "mtard"}),
    Contender("bmtard", "B-MTARD", {"method": "mtard", "options": {"balance_entropy": True}}),
    Contender("peeraid", "PeerAiD", {"method": "peeraid"}),
    Contender("dgad", "DGAD", {"method": "dgad"}),
    Contender("igdm", "AdaAD + IGDM", {"method": "igdm"}),
    Contender("saad", "SAAD", {"method": "saad"}),
    Contender("cgard", "CGARD (our reading)", {"method": "cgard"}),
    Contender("fair_rslad", "Fair-RSLAD", {"method": "rslad", "plugins": ["fair"]}),
    Contender("absld", "ABSLD (RSLAD)", {"method": "rslad", "plugins": ["absld"]}),
    Contender("mmard_rslad", "RSLAD + MMARD-style", {"method": "rslad", "plugins": ["mmard"]}),
    Contender(
        "mmard_inner", "AdaAD + MMARD-style, inner half", {"method": "adaad", "plugins": [{"mmard": {"outer": False}}]}
    ),
    Contender(
        "mmard_outer", "AdaAD + MMARD-style, outer half", {"method": "adaad", "plugins": [{"mmard": {"inner": False}}]}
    ),
    Contender("mmard", "AdaAD + MMARD-style", {"method": "adaad", "plugins": ["mmard"]}),
)


# What the recommended recipe is looked for among, beside all contenders; `--search` ranks them without a look at the
# test images.
VARIANTS = tuple(
    Contender(name, name, settings)
    for name, settings in {
        "adaad_batch_64": {"method": "adaad", "batch_size": 64},
        "adaad_mmard_outer_batch_64": {"method": "adaad", "batch_size": 64, "plugins": [{"mmard": {"inner": False}}]},
        # On RSLAD, whose attack asks no teacher at every step: what helps there is tried on AdaAD.
        "rslad_batch_64": {"method": "rslad", "batch_size": 64},
        "rslad_batch_32": {"method": "rslad", "batch_size": 32, "learning_rate": 0.05},
        "rslad_decay_1e-4": {"method": "rslad", "weight_decay": 1e-4},
        "rslad_rate_02": {"method": "rslad", "learning_rate": 0.2},
        "rslad_igdm": {"method": "rslad", "plugins": ["igdm"]},
        "rslad_mmard_outer": {"method": "rslad", "plugins": [{"mmard": {"inner": False}}]},
        "rslad_decay_1e-3": {"method": "rslad", "weight_decay": 1e-3},
        "rslad_batch_64_rate_005": {"method": "rslad", "batch_size": 64, "learning_rate": 0.05},
        "adaad_batch_32_rate_005": {"method": "adaad", "batch_size": 32, "learning_rate": 0.05},
        "rslad_ema": {"method": "rslad", "average": {"kind": "ema", "start": 0.5}},
    }.items()
)
SEARCH_SAMPLES = 2_000
SEARCH_ATTACKS = ("apgd-ce", "apgd-t")


def contenders(preset: Preset) -> list[Contender]:
    """The methods, and the preset's recommended recipe."""
    extra = [Contender("recommended", "recommended", preset.recommended, seeds=3)] if preset.recommended else []
    return [*CONTENDERS, *extra]


@dataclass(frozen=True)
class Cell:
    """One model: which, how it is trained, and where its results go.

    Attributes:
        model: registered name.
        settings: keys of TrainConfig that differ from the preset's.
        seed: of weights, order, augmentation and starts.
        folder: of its weights and results.
        teachers: the folder of the teachers; None for a teacher.
        data_root: local copies of the data sets.
    """

    model: str
    settings: dict[str, Any]
    seed: int
    folder: Path
    teachers: Path | None
    data_root: Path | None


def train_cell(preset: Preset, cell: Cell) -> dict[str, Any]:
    """Train a cell's model, unless it is; return what is known of its training."""
    done = cell.folder / "trained.json"
    if done.is_file():
        return json.loads(done.read_text())
    one_thread()
    cell.folder.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(DataConfig.model_validate({**preset.data, "root": cell.data_root}))
    config = TrainConfig.model_validate({**preset.common, **cell.settings, "seed": cell.seed})
    shape, classes = dataset.image_shape, len(dataset.class_names)

    def companion(name: str) -> torch.nn.Module | None:
        if cell.teachers is None or name not in config.needs:
            return None
        return Classifier(preset.teacher, cell.teachers / name / WEIGHTS, shape, classes).load()

    peer = (
        build_model(config.peer or cell.model, shape, classes, seed=cell.seed + 1) if "peer" in config.needs else None
    )
    result = train(
        build_model(cell.model, shape, classes, seed=cell.seed),
        dataset,
        ThreatModel.model_validate(preset.threat),
        config,
        teacher=companion("teacher"),
        natural_teacher=companion("natural_teacher"),
        peer=peer,
        running=Running(folder=cell.folder),
    )
    result.save(cell.folder, model=cell.model)
    best = result.history[result.best_epoch]
    return write(
        done,
        {
            "validation_clean": best.clean_accuracy,
            "validation_pgd": best.pgd_accuracy,
            "best_epoch": best.epoch,
            "images_per_second": statistics.median(epoch.images_per_second for epoch in result.history),
            "train_seconds": sum(epoch.seconds for epoch in result.history),
            "seed": cell.seed,
            "config": config.model_dump(mode="json"),
        },
    )


def run_cell(preset: Preset, cell: Cell) -> dict[str, Any]:
    """Train and attack a cell's model, unless its result is there; return the result."""
    done = cell.folder / "result.json"
    if done.is_file():
        return json.loads(done.read_text())
    trained = train_cell(preset, cell)
    one_thread()
    dataset = load_dataset(DataConfig.model_validate({**preset.data, "root": cell.data_root}))
    threat = ThreatModel.model_validate(preset.threat)
    classifier = Classifier(cell.model, cell.folder / WEIGHTS, dataset.image_shape, len(dataset.class_names))
    verify = VerifyConfig(samples=preset.samples)
    samples = sample(dataset.test, verify)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clean, pgd = pgd_accuracy(classifier.load().to(device), samples, threat, steps=20, seed=0, device=device)
    attack = cell.folder / "attack"
    attack_subject(TorchSubject("student", classifier), samples, threat, verify, verify.attacks, attack, workers=1)
    found = Attacked.load(attack)
    return write(
        done,
        {
            **trained,
            "clean": clean,
            "pgd20": pgd,
            "autoattack": float(found.robust.mean()),
            "samples": len(found.robust),
            "robust_samples": int(found.robust.sum()),
            "after": {name: int(bits.sum()) for name, bits in found.bits.items()},
        },
    )


def one_thread() -> None:
    """Leave the other cores to the other cells."""
    keep_freed_memory()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)


def write(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write JSON whole or not at all, and return it."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)
    return content


def cells(preset: Preset, out: Path, data_root: Path | None, only: set[str]) -> tuple[list[Cell], dict[str, Cell]]:
    """Return the teachers, and all that is attacked by what it is called: first seeds first, teachers last."""
    trainings = {"teacher": preset.teacher_training, "natural_teacher": preset.natural_training}
    teachers = {
        name: Cell(preset.teacher, training, 0, out / name, None, data_root) for name, training in trainings.items()
    }
    listed = contenders(preset)
    students = {
        f"{contender.label}, seed {seed}": Cell(
            preset.student, contender.settings, seed, out / f"{contender.name}-{seed}", out, data_root
        )
        for seed in range(max(contender.seeds for contender in listed))
        for contender in listed
        if seed < contender.seeds and (not only or contender.name in only)
    }
    return list(teachers.values()), students | teachers


def run(preset: Preset, out: Path, data_root: Path | None, only: set[str], jobs: int, console: Console) -> int:
    """Run every cell that has no result yet; return how many failed."""
    teachers, wanted = cells(preset, out, data_root, only)
    failed, started = 0, time.time()
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        for trained in [pool.submit(train_cell, preset, teacher) for teacher in teachers]:
            console.print(f"teacher: validation PGD {trained.result()['validation_pgd']:.3f}", highlight=False)
        running = {pool.submit(run_cell, preset, cell): name for name, cell in wanted.items()}
        for number, future in enumerate(as_completed(running), 1):
            name = running[future]
            try:
                found = future.result()
            except Exception:
                failed += 1
                console.print(f"{name}: failed\n{traceback.format_exc()}", highlight=False)
                continue
            console.print(
                f"{number}/{len(wanted)} after {(time.time() - started) / 60:.0f} min: {name}: "
                f"clean {found['clean']:.3f}, PGD-20 {found['pgd20']:.3f}, AutoAttack {found['autoattack']:.3f}",
                highlight=False,
            )
    return failed


def held_out(preset: Preset, data_root: Path | None) -> Split:
    """Training images that nobody trains on or chooses epochs by: what the recommended recipe is chosen by."""
    config = DataConfig.model_validate({**preset.data, "root": data_root})
    used = load_dataset(config).train.index
    rest = load_dataset(config.model_copy(update={"train": None})).train
    rows = np.flatnonzero(~np.isin(rest.index, used))
    return rest.take(np.sort(np.random.default_rng(0).permutation(rows)[:SEARCH_SAMPLES]))


def search_cell(preset: Preset, cell: Cell) -> dict[str, Any]:
    """Train a candidate, unless it is, and attack it on held-out training images.

    By APGD-CE and APGD-T: PGD on the cross-entropy alone would prefer students that learn by it.
    """
    done = cell.folder / "searched.json"
    if done.is_file():
        return json.loads(done.read_text())
    trained = train_cell(preset, cell)
    one_thread()
    split, threat = held_out(preset, cell.data_root), ThreatModel.model_validate(preset.threat)
    shape = (split.images.shape[1], split.images.shape[2], split.images.shape[3])
    classifier = Classifier(cell.model, cell.folder / WEIGHTS, shape, int(split.labels.max()) + 1)
    attack = cell.folder / "search-attack"
    attack_subject(TorchSubject("student", classifier), split, threat, VerifyConfig(), SEARCH_ATTACKS, attack)
    found = Attacked.load(attack)
    return write(done, {**trained, "clean": float(found.clean_correct.mean()), "robust": float(found.robust.mean())})


def candidates(preset: Preset, out: Path, data_root: Path | None) -> list[Cell]:
    """What `--search` ranks: variants, and the contenders' first seeds, whose training the table shares."""
    listed = [(f"search/{variant.name}", variant.settings) for variant in VARIANTS]
    listed += [(f"{contender.name}-0", contender.settings) for contender in CONTENDERS]
    return [Cell(preset.student, settings, 0, out / folder, out, data_root) for folder, settings in listed]


def search(preset: Preset, out: Path, data_root: Path | None, jobs: int, console: Console) -> None:
    """Rank the candidates for the recommended recipe; the test images are not looked at."""
    teachers, _ = cells(preset, out, data_root, set())
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        for trained in [pool.submit(train_cell, preset, teacher) for teacher in teachers]:
            trained.result()
        running = {
            cell.folder.name: pool.submit(search_cell, preset, cell) for cell in candidates(preset, out, data_root)
        }
        found = {label: future.result() for label, future in running.items()}
    console.print(f"{SEARCH_SAMPLES} held-out training images, one seed", highlight=False)
    for label, result in sorted(found.items(), key=lambda entry: -entry[1]["robust"]):
        console.print(
            f"{label:24} clean {result['clean']:.4f}  after APGD-CE and APGD-T {result['robust']:.4f}", highlight=False
        )


@dataclass(frozen=True)
class Row:
    """A contender's figures: means over seeds, with their spread."""

    name: str
    label: str
    seeds: int
    clean: float
    pgd20: float
    autoattack: float
    spread: float | None
    interval: tuple[float, float]
    images_per_second: float
    cost: float | None


def rows(preset: Preset, out: Path) -> list[Row]:
    """Summarise the finished cells; the interval is that of all seeds' samples of AutoAttack together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for contender in contenders(preset):
        paths = [out / f"{contender.name}-{seed}" / "result.json" for seed in range(contender.seeds)]
        found[contender.name] = [json.loads(path.read_text()) for path in paths if path.is_file()]
    reference = [result["train_seconds"] for result in found.get("pgd_at", [])]
    table: list[Row] = []
    for contender in contenders(preset):
        results = found[contender.name]
        if not results:
            continue

        def mean(key: str, results: list[dict[str, Any]] = results) -> float:
            return statistics.fmean(result[key] for result in results)

        robust = [result["autoattack"] for result in results]
        table.append(
            Row(
                contender.name,
                contender.label,
                len(results),
                mean("clean"),
                mean("pgd20"),
                mean("autoattack"),
                statistics.stdev(robust) if len(robust) > 1 else None,
                clopper_pearson(
                    round(statistics.fmean(result["robust_samples"] for result in results)), results[0]["samples"]
                ),
                mean("images_per_second"),
                mean("train_seconds") / statistics.fmean(reference) if reference else None,
            )
        )
    return sorted(table, key=lambda row: row.autoattack)


def show(preset: Preset, out: Path, console: Console) -> None:
    """Print the table, as text and as Markdown, and draw the plot."""
    table = Table(
        title=f"same teacher ({preset.teacher}), same student ({preset.student}), {preset.samples} test images"
    )
    columns = ("method", "seeds", "clean", "PGD-20", "AutoAttack", "95 % interval", "images/s", "cost / PGD-AT")
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    summary = rows(preset, out)
    for row in summary:
        spread = "" if row.spread is None else f" ± {row.spread:.3f}"
        values = (
            row.label,
            str(row.seeds),
            f"{row.clean:.3f}",
            f"{row.pgd20:.3f}",
            f"{row.autoattack:.3f}{spread}",
            f"[{row.interval[0]:.3f}, {row.interval[1]:.3f}]",
            f"{row.images_per_second:.0f}",
            "" if row.cost is None else f"{row.cost:.2f}",
        )
        table.add_row(*values)
        lines.append(f"| {' | '.join(values)} |")
    for name in ("teacher", "natural_teacher"):
        path = out / name / "result.json"
        if path.is_file():
            result = json.loads(path.read_text())
            line = (
                f"{name}: clean {result['clean']:.3f}, PGD-20 {result['pgd20']:.3f}, "
                f"AutoAttack {result['autoattack']:.3f}"
            )
            console.print(line, highlight=False)
            lines.append(f"\n{line}")
    console.print(table)
    (out / "methods.md").write_text("\n".join(lines) + "\n")
    (out / "methods.json").write_text(json.dumps([asdict(row) for row in summary], indent=1))
    if summary:
        draw(summary, out / "methods.png")
        console.print(f"{out / 'methods.md'}, {out / 'methods.png'}", highlight=False)


def draw(summary: list[Row], path: Path) -> None:
    """Draw AutoAttack with its interval against clean accuracy."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.34 * len(summary) + 1.6), layout="constrained")
    for place, row in enumerate(summary):
        axes.plot(row.interval, (place, place), color="#9aa7b5", linewidth=2, zorder=1)
        axes.scatter(row.autoattack, place, color="#1f4e79", zorder=3)
        axes.scatter(row.clean, place, color="#d98c3a", marker="D", s=22, zorder=2)
    axes.set_yticks(range(len(summary)), [row.label for row in summary])
    axes.scatter([], [], color="#1f4e79", label="AutoAttack, with 95 % interval")
    axes.scatter([], [], color="#d98c3a", marker="D", s=22, label="clean")
    axes.set_xlabel("accuracy on the same test images")
    axes.grid(axis="x", color="#e3e7ec")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.08), ncols=2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu")
    parser.add_argument("--out", type=Path, help="where cells and tables go (default: runs/methods-<preset>)")
    parser.add_argument("--data-root", type=Path, help="local copies of the data sets")
    parser.add_argument("--only", help="comma-separated names of contenders")
    parser.add_argument("--jobs", type=int, help="cells at a time (default: 2 on a CPU, 1 on a GPU)")
    parser.add_argument("--search", action="store_true", help="rank the candidates for the recommended recipe")
    parser.add_argument("--show", action="store_true", help="only print and draw what there is")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    out = arguments.out or Path("runs") / f"methods-{arguments.preset}"
    only = set(arguments.only.split(",")) if arguments.only else set()
    unknown = only - {contender.name for contender in contenders(preset)}
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    console = Console(width=130)
    failed = 0
    jobs = arguments.jobs or (1 if torch.cuda.is_available() else 2)
    if arguments.search:
        search(preset, out, arguments.data_root, jobs, console)
        return
    if not arguments.show:
        failed = run(preset, out, arguments.data_root, only, jobs, console)
    show(preset, out, console)
    sys.exit(3 if failed else 0)


if __name__ == "__main__":
    main()
