"""One run of what `benchmarks/verify.py` compares: AutoAttack, plain and sharded, and edgeproof."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeproof.core.orphan import end_with
from edgeproof.stages.data import DataConfig, Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify import Attacked, EngineSubject, Evaluation, VerifyConfig, Workforce, attack_subject
from edgeproof.stages.verify.attack import in_shards
from edgeproof.stages.verify.attacks.autoattack import STANDARD
from edgeproof.stages.verify.subject.engine_module import AttackableEngine
from edgeproof.targets.base import EngineFile, targets
from joblib import Parallel, delayed, parallel_config
from pyautoattack import AutoAttack

from edgeproof import verify

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
        return in_shards(self.split, self.config.shard_size)


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
        attack_subject(
            subject, Evaluation(job.split, job.threat, config), order, folder, workforce=Workforce(job.workers)
        )
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
