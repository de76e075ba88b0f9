"""What `edgeproof verify` takes, and finds, beside AutoAttack standard run on the same engine and samples.

    python benchmarks/verify.py                                    # int8 engine of the tests' student, all digits
    python benchmarks/verify.py --float --rounds 1 --samples 300
    python benchmarks/verify.py --model student.onnx --dataset fashion_mnist --data-root DATA --samples 1000

Subjects run in turn, each once a round, so that the machine's moods hit all alike; ratios are taken within a round:

- plain: pyautoattack's `AutoAttack(version="standard")` on an `AttackableEngine` (the engine in the same process, the
  twin's `relu` gradients), one process, torch with a thread a core, the engine with one (as `load` opens it; two
  pools of threads fight over the cores), batches of `--batch`: what a user would write;
- sharded: the same over worker processes with one thread each, on the very shards of the row below;
- same attacks: edgeproof with the same four attacks and no others, by routes `whitebox` (mode `relu`) and `square`,
  with the checks of every shard;
- verify: `edgeproof.pipeline.verify` with its defaults: all backward modes, the probe, report and adversarial pack;
- gate: the same, sequential, for a gate on the robust accuracy that lies `--margin` below what the plain run found, or
  above it where nothing is below; it decides about the whole test split, from at most the same number of samples. Where
  that is larger than what the plain run attacked, its time is also compared to the plain run's times as many images.

Processes are warm before the clock starts. Loading the engine counts, in every row. A sample on which a row is more
robust than the plain run is one that the plain run broke and the row did not; it is confirmed where the plain run's
image, put back into the ball, fools the engine asked alone. AutoAttack seeds every batch anew, so the random starts of
a sample depend on the samples beside it: what "sharded", the same code, differs from "plain" says how much that is.
"verdict moved" counts samples that did not come out alike in all rounds.

Below, seconds by attack; over several processes, their sum. Those of edgeproof are of one more run, untimed above, in
which the four attacks are routes of their own. For data with at least ten classes, as AutoAttack standard is.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeproof.pipeline import verify
from edgeproof.pipeline.options import data_config, threat_model
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, Split, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify import Attacked, EngineSubject, VerifyConfig, attack_subject, default_workers, sample
from edgeproof.stages.verify.attack import divided
from edgeproof.stages.verify.attackable import AttackableEngine
from edgeproof.stages.verify.autoattack import STANDARD, inside
from edgeproof.stages.verify.subject import fooled
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.process.orphan import end_with
from joblib import Parallel, delayed, parallel_config
from pyautoattack import AutoAttack
from rich.console import Console
from rich.table import Table

STUDENT = Path(__file__).parents[1] / "tests" / "data" / "student.safetensors"
PLAIN, SHARDED, SAME, VERIFY, GATE = "plain", "sharded", "same attacks", "verify", "gate"
ROWS = (PLAIN, SHARDED, SAME, VERIFY, GATE)
# What is asked of a row: at most so much of the plain run's time, and of the sharded one's.
ASKED: dict[tuple[str, str], float] = {(SAME, PLAIN): 1 / 4, (SAME, SHARDED): 0.7, (GATE, PLAIN): 1 / 10}
REST = "rest"


@dataclass(frozen=True)
class Job:
    """One engine, its samples and how they are attacked."""

    engine: EngineFile
    data: DataConfig
    threat: ThreatModel
    config: VerifyConfig
    split: Split
    population: int
    workers: int
    threads: int
    engine_threads: int
    batch: int
    margin: float

    @property
    def same_attacks(self) -> VerifyConfig:
        """The configuration of the four attacks of AutoAttack standard."""
        return self.config.model_copy(update={"routes": ("whitebox", "square"), "backward": ("relu",)})

    @property
    def shards(self) -> list[Split]:
        """The samples as `attack_subject` divides them."""
        pixels = int(np.prod(self.split.images.shape[2:]))
        return [self.split.take(rows) for rows in divided(len(self.split), self.config.shard_size, pixels)]


@dataclass
class Run:
    """What one run of a subject came to.

    Attributes:
        index: `[N]` data-set rows.
        robust: `[N]` booleans.
        x_adv: `[N, C, H, W]`, the plain run's images; None for other rows.
        by_attack: seconds by attack or route.
        wall: seconds.
        note: what else it says.
    """

    index: np.ndarray
    robust: np.ndarray
    x_adv: np.ndarray | None = None
    by_attack: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    note: str = ""


def autoattack(
    engine: EngineFile, split: Split, threat: ThreatModel, seed: int, batch: int, engine_threads: int
) -> Run:
    """AutoAttack standard as its users run it; every attack's `perturb` is timed, which is all that is changed."""
    started = time.perf_counter()
    seconds = dict.fromkeys(STANDARD, 0.0)
    with targets[engine.target].load(engine, threads=engine_threads) as runtime:
        model = AttackableEngine(runtime, load_twin(engine.path, backward="relu"))
        runner = AutoAttack(model, norm=threat.norm, eps=threat.eps, version="standard", seed=seed, device="cpu")
        for name, attack in zip(STANDARD, (runner.apgd, runner.apgd_targeted, runner.fab, runner.square), strict=True):
            attack.perturb = timed(attack.perturb, seconds, name)
        x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
        x_adv, answers = runner.run_standard_evaluation(x, y, batch_size=batch)
    seconds[REST] = time.perf_counter() - started - sum(seconds.values())
    return Run(split.index, (answers == y).numpy(), x_adv.numpy(), seconds)


def timed(function: Callable[..., Any], seconds: dict[str, float], name: str) -> Callable[..., Any]:
    """Add what every call of a function takes to an entry."""

    def call(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - begin

    return call


def joined(parts: Sequence[Run]) -> Run:
    """The runs of several shards as one; their seconds add up."""
    return Run(
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.robust for part in parts]),
        np.concatenate([part.x_adv for part in parts if part.x_adv is not None]),
        {name: sum(part.by_attack[name] for part in parts) for name in parts[0].by_attack},
    )


@contextmanager
def processes(count: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for AutoAttack, started and with everything imported."""
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=begin, initargs=(os.getpid(), threads)
    ) as pool:
        list(pool.map(time.sleep, [1.0] * count))  # so long that each process gets one
        yield pool


def begin(parent: int, threads: int) -> None:
    """Prepare a process for AutoAttack."""
    end_with(parent)
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    torch.set_num_threads(threads)


def warm_up(workers: int) -> None:
    """Start the processes of `attack_subject`, where they ended meanwhile, and let them import everything."""

    def imported() -> None:
        import edgeproof.stages.verify.attack  # noqa: F401

        time.sleep(1)

    with parallel_config(backend="loky", inner_max_num_threads=1):
        Parallel(n_jobs=workers, max_nbytes=None)(delayed(imported)() for _ in range(workers))


def plain(job: Job, pool: ProcessPoolExecutor) -> Run:
    """Run AutoAttack in one process with all threads."""
    return pool.submit(
        autoattack, job.engine, job.split, job.threat, job.config.seed, job.batch, job.engine_threads
    ).result()


def sharded(job: Job, pool: ProcessPoolExecutor) -> Run:
    """Run AutoAttack over processes with one thread each."""
    parts = [
        pool.submit(autoattack, job.engine, shard, job.threat, job.config.seed, max(len(shard), 1), 1)
        for shard in job.shards
    ]
    return joined([part.result() for part in parts])


def same_attacks(job: Job, order: Sequence[str] = ("whitebox", "square")) -> Run:
    """Run the four attacks with edgeproof."""
    config = job.same_attacks
    subject = EngineSubject("engine", job.engine, job.engine.path, config.backward)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        attack_subject(subject, job.split, job.threat, config, order, folder, workers=job.workers)
        found = Attacked.load(folder)
    return Run(found.index, found.robust, None, seconds_of(found.summary), note=findings_of(found.summary))


def whole(job: Job, gate: str | None = None) -> Run:
    """Run `edgeproof verify`; with a gate, until that is decided."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "proof"
        report = verify(
            job.engine.path,
            dataset=job.data.dataset,
            data_root=job.data.root,
            eps=job.threat.eps,
            norm=job.threat.norm,
            samples=job.config.samples,
            seed=job.config.seed,
            target=job.engine.target,
            workers=job.workers,
            out=out,
            gates=[] if gate is None else [gate],
            sequential=gate is not None,
        )
        with np.load(out / "verification" / f"{job.engine.target}.npz") as bits:
            index, robust = bits["index"], bits[list(bits)[-1]]
        summary = json.loads(next(out.rglob("attack.json")).read_text())
    note = findings_of(summary)
    if gate is not None:
        low, high = report.subjects[0]["robust_accuracy_ci"]
        decision = f"{gate}: {report.data['verdict']}, from {len(index)} samples: {low:.3f} to {high:.3f}"
        note = "; ".join(filter(None, (decision, note)))
    return Run(index, robust, None, seconds_of(summary), note=note)


def seconds_of(summary: dict[str, Any]) -> dict[str, float]:
    return dict(summary["seconds"])


def findings_of(summary: dict[str, Any]) -> str:
    return ", ".join(finding["name"] for finding in summary["findings"])


def measure(job: Job, rows: Sequence[str], rounds: int, console: Console) -> tuple[dict[str, list[Run]], Run]:
    """Run every row once a round; then, for the shares, the four attacks as routes of their own."""
    runs: dict[str, list[Run]] = {name: [] for name in rows}
    with ExitStack() as stack:
        alone = stack.enter_context(processes(1, job.threads))
        side_by_side = stack.enter_context(processes(job.workers, 1))

        def gate() -> Run:
            truth = float(runs[PLAIN][0].robust.mean())
            limit = truth - job.margin if 0 < truth - job.margin < 1 else truth + job.margin  # others hold at once
            return whole(job, f"robust_accuracy >= {limit:.4g}")

        subjects: dict[str, Callable[[], Run]] = {
            PLAIN: partial(plain, job, alone),
            SHARDED: partial(sharded, job, side_by_side),
            SAME: partial(same_attacks, job),
            VERIFY: partial(whole, job),
            GATE: gate,
        }
        for number in range(rounds):
            for name in rows:
                warm_up(job.workers)
                started = time.perf_counter()
                run = subjects[name]()
                run.wall = time.perf_counter() - started
                runs[name].append(run)
                console.print(
                    f"round {number + 1}, {name}: {run.wall:.1f} s, robust {run.robust.mean():.3f} "
                    f"of {len(run.robust)} {run.note}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
        return runs, same_attacks(job, STANDARD)


def confirmed(job: Job, reference: Run, rows: np.ndarray) -> int:
    """How many of the plain run's images, put back into the ball, fool the engine asked by itself."""
    if not rows.any() or reference.x_adv is None:
        return 0
    chosen = job.split.take(np.flatnonzero(rows))
    images = inside(torch.from_numpy(reference.x_adv[rows]), torch.from_numpy(chosen.images), job.threat).numpy()
    predict = EngineSubject("engine", job.engine, job.engine.path, ("relu",)).predictor()
    return int(fooled(predict, images, np.arange(len(images)), chosen.labels).sum())


def ratio(runs: Sequence[Run], reference: Sequence[Run] | None) -> tuple[float, float, float] | None:
    """Median, least and greatest ratio of the wall times, round by round."""
    if reference is None:
        return None
    found = [run.wall / other.wall for run, other in zip(runs, reference, strict=True)]
    return statistics.median(found), min(found), max(found)


def summarize(job: Job, runs: dict[str, list[Run]], by_attack: Run) -> dict[str, Any]:
    """Everything that is shown, as JSON-able data."""
    first = runs[PLAIN][0]
    rows: dict[str, Any] = {}
    for name, these in runs.items():
        rows[name] = {
            "seconds": [run.wall for run in these],
            "of": {other: ratio(these, runs.get(other)) for other in (PLAIN, SHARDED)},
            "samples": len(these[0].robust),
            "robust_accuracy": float(these[0].robust.mean()),
            "by_attack": these[0].by_attack,
            "note": these[0].note,
        }
        if name == GATE:  # other samples, in another order
            rows[name]["note"] += about_all(job, rows[name]["of"][PLAIN])
            continue
        assert all((run.index == first.index).all() for run in these)
        for other in (PLAIN, SHARDED):
            if other in runs and other != name:
                verdicts = [(run.robust, before.robust) for run, before in zip(these, runs[other], strict=True)]
                rows[name][f"beside {other}"] = {
                    "more": max(int((robust & ~before).sum()) for robust, before in verdicts),
                    "less": max(int((~robust & before).sum()) for robust, before in verdicts),
                    "confirmed": confirmed(job, runs[other][0], these[0].robust & ~runs[other][0].robust),
                }
        rows[name]["moved"] = int(np.any([run.robust != these[0].robust for run in these], axis=0).sum())
    return {
        "engine": job.engine.path.name,
        "target": job.engine.target,
        "dataset": job.data.dataset,
        "threat": job.threat.model_dump(mode="json"),
        "samples": len(job.split),
        "shards": [len(shard) for shard in job.shards],
        "batch": job.batch,
        "workers": job.workers,
        "threads": job.threads,
        "engine_threads": job.engine_threads,
        "load": os.getloadavg(),
        "rows": rows,
        "by_attack": {
            **{name: rows[name]["by_attack"] for name in (PLAIN, SHARDED) if name in rows},
            SAME: by_attack.by_attack,
        },
        "by_route": {name: rows[name]["by_attack"] for name in (SAME, VERIFY, GATE) if name in rows},
    }


def about_all(job: Job, found: tuple[float, float, float] | None) -> str:
    """What a gate's decision about the whole test split takes of what plain AutoAttack would, image by image."""
    if found is None or len(job.split) == job.population:
        return ""
    low, middle, high = (value * len(job.split) / job.population for value in (found[1], found[0], found[2]))
    return f"; of {PLAIN} times {job.population} / {len(job.split)} images: {middle:.3f} [{low:.3f}, {high:.3f}]"


def show(result: dict[str, Any], console: Console) -> None:
    """Print the tables of one engine."""
    rows, threat = result["rows"], result["threat"]
    plain_run = (
        f"{result['threads']} threads and {result['engine_threads']} of the engine, batches of {result['batch']}"
    )
    console.print(
        f"{result['engine']} ({result['target']}) on {result['samples']} samples of {result['dataset']}, "
        f"{threat['norm']} {threat['eps']:.4g}, shards of {max(result['shards'])}; {PLAIN}: {plain_run}; elsewhere "
        f"{result['workers']} processes; load {result['load'][0]:.1f}",
        highlight=False,
    )
    time_table = Table("", "wall s, median", rf"of {PLAIN} \[least, most]", rf"of {SHARDED} \[least, most]", "note")
    for name, row in rows.items():
        time_table.add_row(
            name,
            f"{statistics.median(row['seconds']):.1f}",
            *(against(name, other, row["of"][other]) for other in (PLAIN, SHARDED)),
            row["note"],
        )
    console.print(time_table)
    columns = (f"more robust than {PLAIN} (confirmed)", "less", f"more robust than {SHARDED} (confirmed)", "less")
    verdicts = Table("", "samples", "robust", *columns, "verdict moved")
    for name, row in rows.items():
        cells: list[str] = []
        for other in (PLAIN, SHARDED):
            beside = row.get(f"beside {other}")
            cells += [f"{beside['more']} ({beside['confirmed']})", str(beside["less"])] if beside else ["", ""]
        verdicts.add_row(name, str(row["samples"]), f"{row['robust_accuracy']:.3f}", *cells, str(row.get("moved", "")))
    console.print(verdicts)
    for title, key in (("by attack", "by_attack"), ("by route", "by_route")):
        found: dict[str, dict[str, float]] = result[key]
        names = list(dict.fromkeys(name for seconds in found.values() for name in seconds))
        shares = Table(title, *(f"{name}, s (share)" for name in found))
        for name in names:
            shares.add_row(name, *(share(seconds, name) for seconds in found.values()))
        console.print(shares)


def against(name: str, other: str, found: tuple[float, float, float] | None) -> str:
    if found is None or name == other:
        return ""
    asked = f"; asked ≤ {ASKED[name, other]:.2f}" if (name, other) in ASKED else ""
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]{asked}"


def share(seconds: dict[str, float], name: str) -> str:
    return f"{seconds[name]:.1f} ({seconds[name] / max(sum(seconds.values()), 1e-9):.0%})" if name in seconds else ""


def tests_student(folder: Path, *, floating: bool) -> list[Path]:
    """The tests' student as engines: quantized as a build does it and, if wanted, in float."""
    source, quantized = folder / "float.onnx", folder / "int8.onnx"
    shape = (1, 8, 8)
    export_onnx(Classifier("cnn8_small", STUDENT, shape, 10).load(), shape, source, opset=18)
    images = calibration_split(load_dataset(DataConfig(dataset="digits")).train, CalibrationConfig()).images
    quantize_onnx(source, quantized, targets["onnxruntime"].scheme, images)
    return [quantized, source] if floating else [quantized]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", type=Path, help="an ONNX file (default: the tests' student, int8)")
    parser.add_argument("--float", action="store_true", help="without --model: the float engine too")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--norm", default="Linf")
    parser.add_argument("--eps", default="0.1")
    parser.add_argument("--samples", type=int, help="test images (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes with one thread each")
    parser.add_argument("--threads", type=int, default=default_workers(), help="torch's, in the plain run")
    parser.add_argument("--engine-threads", type=int, default=1, help="the engine's, in the plain run")
    parser.add_argument("--batch", type=int, default=250, help="batch of the plain run")
    parser.add_argument("--shard-size", type=int, help=f"not of {VERIFY}, {GATE}")
    parser.add_argument("--margin", type=float, default=0.1, help="how far below the plain run's figure the gate lies")
    parser.add_argument("--only", help=f"comma-separated rows of: {', '.join(ROWS)}; {PLAIN} always runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = ROWS if arguments.only is None else (PLAIN, *(set(arguments.only.split(",")) - {PLAIN}))
    if unknown := set(rows) - set(ROWS):
        parser.error(f"--only: unknown: {', '.join(sorted(unknown))}")
    console = Console(width=150, stderr=arguments.json)
    data = data_config(arguments.dataset, arguments.data_root)
    config = VerifyConfig(samples=arguments.samples, seed=arguments.seed, shard_size=arguments.shard_size)
    test = load_dataset(data).test
    split = sample(test, config)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in arguments.model or tests_student(Path(scratch), floating=arguments.float):
            job = Job(
                EngineFile.of(arguments.target, path.resolve()),
                data,
                threat_model(arguments.norm, arguments.eps),
                config,
                split,
                len(test),
                arguments.workers,
                arguments.threads,
                arguments.engine_threads,
                arguments.batch,
                arguments.margin,
            )
            runs, by_attack = measure(job, [name for name in ROWS if name in rows], arguments.rounds, console)
            results.append(summarize(job, runs, by_attack))
            if not arguments.json:
                show(results[-1], console)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
