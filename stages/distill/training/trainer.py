"""Trainer: one training loop for every method, on Lightning Fabric."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from ....core.errors import StageError, UsageError
from ....core.reading.counted import counted
from ...checkpoint import load_into, read_weights
from ...data import Dataset
from ...threat import ThreatModel
from ..augment import compose
from ..inner import InnerMaximisation
from ..method import Companion
from ..smooth_form import searched
from .batches import Batches
from .config import TrainConfig
from .context import Progress, TrainingContext
from .history import Epoch, TrainResult, weights_of
from .learner import Learner, TrainingBatch
from .processes import Processes, make_fabric
from .selection import pgd_accuracy
from .snapshot import SNAPSHOT, drop_snapshot, read_snapshot, write_snapshot
from .tracking import Tracker, trackers


def train(
    student: nn.Module,
    dataset: Dataset,
    threat: ThreatModel,
    config: TrainConfig,
    *,
    teacher: nn.Module | None = None,
    natural_teacher: nn.Module | None = None,
    peer: nn.Module | None = None,
    where: str = "train",
    running: TrainingContext | None = None,
) -> TrainResult:
    """Train `student` in place with a method, and return its best and its last weights.

    Every step draws from a seed of its own (of the recipe's seed, the epoch and the step), and for the global batch:
    a resumed training goes on as if nothing had happened, and the number of processes changes nothing but rounding.

    Args:
        student: the model that learns.
        dataset: its train split is learnt, its validation split chooses the best epoch; the test split is
            not touched.
        threat: the threat model of the inner maximisation and of the selection.
        config: the method and its schedule.
        teacher: the robust teacher, for methods that need one.
        natural_teacher: the clean teacher, for methods that need one.
        peer: the network that learns beside the student, for methods that need one.
        where: the recipe section, for messages.
        running: where and on what it runs, and who is told.

    Raises:
        UsageError: the method needs a network that is missing, or step > eps.
        StageError: the loss is not a number (says at which step), or memory ran out (says what lowers it).
    """
    given: dict[Companion, nn.Module | None] = {"teacher": teacher, "natural_teacher": natural_teacher, "peer": peer}
    needed: dict[Companion, nn.Module] = {}
    for name, network in given.items():
        if name not in config.needs:
            continue
        if network is None:
            raise UsageError(f"{where}.method: {config.method!r} needs a {name.replace('_', ' ')}")
        needed[name] = network
    InnerMaximisation.of(config.inner, threat, where=f"{where}.inner")
    config.check_images(dataset.image_shape, where)
    if config.warm_start is not None:
        load_into(
            student,
            read_weights(config.warm_start, student.state_dict())[0],
            path=config.warm_start,
            name="the student",
        )
    with out_of_memory(config, where):
        return Trainer(
            student, needed, dataset, threat, config, where=where, running=running or TrainingContext()
        ).run()


class Trainer:
    """One training; `run` is its loop. Arguments as of `train`."""

    def __init__(
        self,
        student: nn.Module,
        companions: Mapping[Companion, nn.Module],
        dataset: Dataset,
        threat: ThreatModel,
        config: TrainConfig,
        *,
        where: str,
        running: TrainingContext,
    ) -> None:
        self._dataset, self._threat, self._config = dataset, threat, config
        self._where, self._running = where, running
        self._fabric = make_fabric(config, running)
        self._processes = Processes(self._fabric)
        if self._processes.world > 1 and self._fabric.device.type == "cpu" and _has_batch_norm(student):
            running.notice(
                f"{where}: BatchNorm sees each process's part of the batch alone: it can be synchronised only on GPUs"
            )
        self._batches = Batches(dataset, config.batch_size, self._fabric.device)
        self._learner = Learner(
            student,
            companions,
            config,
            steps=config.epochs * self._batches.steps,
            fabric=self._fabric,
            processes=self._processes,
        )
        self._result = TrainResult()
        if not config.method_class.robust:
            self._result.selection = "clean accuracy on the validation split"
        self._best_score = (-1.0, -1.0)

    def run(self) -> TrainResult:
        """Train to the end, from a snapshot if there is one."""
        done = self._resume()
        tracked = self._trackers() if self._fabric.is_global_zero else []
        status = "FAILED"
        try:
            for epoch in range(done + 1, self._config.epochs + 1):
                if self._result.stopped_early:
                    break
                self._epoch(epoch)
                for tracker in tracked:
                    tracker.epoch(self._result.history[-1])
                self._running.on_epoch(self._result.history[-1])
            status = "FINISHED"
        finally:
            for tracker in tracked:
                tracker.close(status)
        if self._running.folder is not None and self._fabric.is_global_zero:
            drop_snapshot(self._running.folder)
        self._fabric.barrier()
        return self._result

    def _epoch(self, epoch: int) -> None:
        config, learner = self._config, self._learner
        fraction = (epoch - 1) / config.epochs
        late = config.late_augment
        augment = compose(late.operations if late is not None and fraction >= late.start else config.augment)
        maximisation = InnerMaximisation.of(
            config.inner, self._threat, start=config.method_class.start, fraction=fraction
        )
        learner.method.begin_epoch(epoch, config.epochs)
        total, images, started = 0.0, 0, time.perf_counter()
        for number, (originals, labels) in enumerate(self._batches.epoch(_seed(config.seed, epoch)), 1):
            torch.manual_seed(_seed(config.seed, epoch, number))
            # Drawn for the global batch and then shared out: the same on any number of processes.
            batch = augment(originals).contiguous(memory_format=learner.layout)
            parts = [self._processes.part(each) for each in (batch, labels, maximisation.initial(batch))]
            loss = float(learner.step(TrainingBatch(*parts, count=len(labels)), maximisation, fraction))
            if not np.isfinite(loss):
                raise StageError(
                    f"{self._where}: the loss is {loss} at epoch {epoch}, step {number}; "
                    f"lower {self._where}.learning_rate ({config.learning_rate:g}){self._kept()}"
                )
            total, images = total + loss * len(labels), images + len(labels)
            rate = images / (time.perf_counter() - started)
            self._running.on_step(Progress(epoch, config.epochs, number, self._batches.steps, rate))
        seconds = time.perf_counter() - started
        learner.end_epoch(fraction)
        clean, robust = self._validate()
        self._result.history.append(
            Epoch(
                epoch,
                total / images,
                clean,
                robust,
                learner.learning_rate,
                round(seconds, 3),
                round(images / seconds, 1),
            )
        )
        self._keep(clean, robust)

    def _validate(self) -> tuple[float, float]:
        if self._learner.averages is not None:
            self._learner.averages.recompute_statistics(self._batches.clean())
        return pgd_accuracy(
            searched(self._learner.current),
            self._dataset.validation,
            self._threat,
            steps=self._config.selection_steps,
            seed=self._config.seed,
            device=self._fabric.device,
            part=self._processes.part,
            total=self._processes.total,
            every_point=self._config.every_point,
        )

    def _keep(self, clean: float, robust: float) -> None:
        """Compare the epoch with the best one, and write the snapshot."""
        result, patience = self._result, self._config.patience
        result.last = weights_of(self._learner.current)
        score = (robust, clean) if self._config.method_class.robust else (clean, robust)
        if score > self._best_score:
            self._best_score = score
            result.best_epoch, result.best = len(result.history) - 1, result.last
        result.stopped_early = patience is not None and len(result.history) - 1 - result.best_epoch >= patience
        if self._running.folder is not None and self._fabric.is_global_zero:
            write_snapshot(
                self._running.folder,
                {
                    "learner": self._learner.state_dict(),
                    "best": result.best,
                    "last": result.last,
                    "best_epoch": result.best_epoch,
                    "best_score": list(self._best_score),
                    "stopped_early": result.stopped_early,
                    "history": [asdict(epoch) for epoch in result.history],
                },
            )

    def _resume(self) -> int:
        """Take up a snapshot; return the number of finished epochs."""
        folder = self._running.folder
        read = folder is not None and self._fabric.is_global_zero
        state: dict[str, Any] | None = self._fabric.broadcast(read_snapshot(folder) if read and folder else None)
        if state is None:
            return 0
        self._learner.load_state_dict(state["learner"])
        result = self._result
        result.history = [Epoch(**epoch) for epoch in state["history"]]
        for name in ("best", "last", "best_epoch", "stopped_early"):
            setattr(result, name, state[name])
        first, second = state["best_score"]
        self._best_score = (first, second)
        self._running.notice(f"{self._where}: goes on after epoch {len(result.history)}")
        return len(result.history)

    def _kept(self) -> str:
        """Say where the last good state is."""
        folder, history = self._running.folder, self._result.history
        if folder is None or not history:
            return ""
        return f"; the state after epoch {len(history)} is kept in {folder / SNAPSHOT}"

    def _trackers(self) -> list[Tracker]:
        parameters = self._config.model_dump(mode="json") | self._threat.model_dump(mode="json")
        return trackers(self._running.folder, self._where, parameters)


def _seed(*numbers: int) -> int:
    """Return a seed of its own for every tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


@contextmanager
def out_of_memory(config: TrainConfig, where: str) -> Iterator[None]:
    """Turn a device's or the machine's lack of memory into one line with what lowers it.

    Raises:
        StageError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        lacking = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not lacking:
            raise
        raise StageError(
            f"{where}: out of memory with {where}.batch_size {config.batch_size} in "
            f"{counted(config.accumulate, 'part')}; raise {where}.accumulate (the same batch "
            f"in more parts) or lower {where}.batch_size"
        ) from error
