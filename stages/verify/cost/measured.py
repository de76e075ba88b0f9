"""Attack cost: short attacks on a few images are timed, and multiplied by what all attacks ask."""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ....core.process_pool import finished
from ..attack import in_shards
from ..attacks.batched_targets import PIXELS_AT_ONCE
from ..evaluation import Evaluation
from ..evidence.candidates import Candidates
from ..routes.base import Batch, Context
from ..routes.nearest_first import FIRST
from ..subject.rescaled import with_rescaled
from ..subject.subject import Subject, in_worker, is_correct
from .asked import Asked, asked_by

# Images and steps of the short attacks, and the seconds that each may take: large networks get fewer.
_ROWS, _STEPS, _QUERIES, _SECONDS = 64, 20, 300, 2.0
_REPEATS = 3
_FEWEST = 2
# What the checks take beside the attacks: of the digits' student, 4.2 s of 26.
CHECKS = 0.2
_FLOAT = 4


@dataclass(frozen=True)
class Line:
    """Seconds of one step on a batch: so many in any case, and so many more for each image."""

    fixed: float
    each: float

    def of(self, rows: float, batches: float = 1) -> float:
        """Seconds of a step on so many images, in so many batches."""
        return batches * self.fixed + rows * self.each if rows else 0.0

    def times(self, factor: float) -> Line:
        """The same, so many times slower."""
        return Line(self.fixed * factor, self.each * factor)

    @classmethod
    def mean(cls, lines: Sequence[Line]) -> Line:
        """The mean of what several processes measured."""
        count = max(len(lines), 1)
        return cls(sum(each.fixed for each in lines) / count, sum(each.each for each in lines) / count)

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> Line:
        """The line through two measurements, neither part below zero."""
        (n, a), (m, b) = few, many
        each = max((b - a) / (m - n), 0.0) if m > n else b / m
        return cls(max(b - each * m, 0.0), each)


@dataclass(frozen=True)
class AttackCost:
    """What the attacks on a subject are expected to take.

    Attributes:
        asked: what each asks.
        right: of the measured images, how many are answered rightly.
        stood: of those, how many a short APGD left standing.
        measured: how many images were measured.
        gradient: seconds of a step along the first gradient, by images; None without gradients.
        answer: seconds of a query.
        seconds: of all attacks, where as many samples stand as of the measured ones.
        most: seconds where all stand.
        process_bytes: what a process takes: its peak while it measured, and what a gradient of the largest batch keeps.
        kept_bytes: of the images that are kept.
        workers: processes that it is divided among.
    """

    asked: tuple[Asked, ...]
    right: int
    stood: int
    measured: int
    gradient: Line | None
    answer: Line
    seconds: float
    most: float
    process_bytes: int
    kept_bytes: int
    workers: int

    @property
    def gradients(self) -> int:
        """Gradients that are asked about a sample that stands in the end, beside those about the nearest ones."""
        return sum(each.gradients for each in self.asked if each.on in ("right", "standing"))

    @property
    def answers(self) -> int:
        """Queries without gradients, likewise."""
        return sum(each.answers for each in self.asked if each.on in ("right", "standing"))

    @property
    def bytes(self) -> int:
        """Memory of all processes."""
        return self.process_bytes * self.workers + self.kept_bytes


@dataclass(frozen=True)
class _Measurement:
    """What one process measured: the attacks' questions, answers and times, and what memory it took."""

    asked: tuple[Asked, ...]
    right: int
    stood: int
    gradient: Line | None
    answer: Line
    peak: int
    kept: int


def attack_cost(
    subject: Subject, evaluation: Evaluation, order: Sequence[str], workers: int, *, curve: bool
) -> AttackCost:
    """Time short attacks on a few of the samples, in as many processes as will attack, and say what all would take.

    Args:
        subject: what is attacked; it is opened here.
        evaluation: on which samples, in which ball, and how hard.
        order: route names.
        workers: processes that attack.
        curve: whether the subject has a curve.

    Raises:
        StageError: a process died twice.
    """
    split, config = evaluation.split, evaluation.config
    shards = [len(shard) for shard in in_shards(split, config.shard_size)]
    workers = min(workers, len(shards))
    rows = np.unique(np.linspace(0, len(split) - 1, min(_ROWS, len(split))).round().astype(np.int64))
    few = split.take(rows)

    def jobs(subject: Subject) -> list[Callable[[], _Measurement]]:
        asked = replace(evaluation, split=few, stop=None, earlier=None)
        measure = partial(_measured, subject, asked, max(shards), tuple(order), curve)
        return [measure] * workers

    found = [each for _, each in finished(jobs(in_worker(subject)), workers, what="cost", careful=jobs(subject))]
    first = found[0]
    gradients = [each.gradient for each in found if each.gradient is not None]
    gradient, answer = Line.mean(gradients), Line.mean([each.answer for each in found])
    pixels = int(np.prod(split.images.shape[1:]))
    right = first.right / len(few)

    def total(standing: float) -> float:
        each = [_seconds(first.asked, gradient, answer, size * right, standing, pixels) for size in shards]
        return (1 + CHECKS) * sum(each) / workers

    images = sum(each.kept for each in first.asked) * len(split)
    return AttackCost(
        asked=first.asked,
        right=first.right,
        stood=first.stood,
        measured=len(few),
        gradient=gradient if gradients else None,
        answer=answer,
        seconds=total(first.stood / max(first.right, 1)),
        most=max(total(1.0), total(first.stood / max(first.right, 1))),
        process_bytes=max(each.peak for each in found) + first.kept * _largest(first.asked, max(shards), pixels),
        kept_bytes=images * pixels * _FLOAT,
        workers=workers,
    )


def _measured(subject: Subject, few: Evaluation, shard: int, order: Sequence[str], curve: bool) -> _Measurement:
    """Measure in this process, with one thread, as a shard of so many samples is attacked."""
    torch.set_num_threads(1)
    split, threat, config = few.split, few.threat, few.config
    with closing(subject.open()) as unscaled:
        clean = unscaled.predict(split.images)
        right = is_correct(clean, split.labels)
        opened = with_rescaled(unscaled, clean, right)
        asked = asked_by(order, opened, config, threat, curve=curve)
        batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index).where(right)
        context = Context(opened, threat, config, Candidates.none(split.images.shape[1:]))
        first = next(iter(opened.gradient_sources), None)

        def ascend(part: Batch, steps: int) -> int:
            return int((~context.attack("apgd-ce", first, part, steps=steps).broken).sum())

        def search(part: Batch, queries: int) -> int:
            quick = config.model_copy(update={"square_queries": queries})
            return int((~replace(context, config=quick).attack("square", None, part).broken).sum())

        gradient, stood, kept = None, len(batch), 0
        if first is not None and len(batch):
            kept = _kept_by_a_gradient(opened.gradient_sources[first], batch.images[:1])
            largest = _largest(asked, shard, int(np.prod(split.images.shape[1:])))
            gradient, stood = _line(batch, _STEPS, largest, ascend)
        answer, _ = _line(batch, _QUERIES, shard, search)
    # macOS counts bytes, Linux KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return _Measurement(tuple(asked), len(batch), stood, gradient, answer, peak, kept)


def _largest(asked: Sequence[Asked], shard: int, pixels: int) -> int:
    """Images of the largest batch that a shard of so many samples is attacked in."""
    room = max(PIXELS_AT_ONCE // pixels, shard)
    return max((min(shard * (each.runs if each.together else 1), room) for each in asked), default=shard)


def _seconds(
    asked: Sequence[Asked], gradient: Line | None, answer: Line, right: float, standing: float, pixels: int
) -> float:
    """Seconds of the attacks on a shard of so many samples that are answered rightly, of which a share stands."""
    on = {
        "right": right,
        "standing": right * standing,
        "fallen": right * (1 - standing),
        "near": min(right * standing, FIRST),
    }
    found = 0.0
    for each in asked:
        rows = on[each.on]
        if gradient is not None and each.steps:
            batches = math.ceil(each.runs * rows * pixels / PIXELS_AT_ONCE) if each.together else each.runs
            found += each.weight * each.steps * gradient.of(each.runs * rows, batches)
        found += each.answers * answer.of(rows)
    return found


def _line(batch: Batch, steps: int, most: int, attack: Callable[[Batch, int], int]) -> tuple[Line, int]:
    """Seconds of a step by images, and how many of the batch an attack of so many steps leaves standing.

    Args:
        batch: the images; copies of them, each a little other, fill larger batches.
        steps: of the attack.
        most: images of the largest batch.
        attack: takes a batch and steps, and returns how many stand.
    """
    if not len(batch):
        return Line(0.0, 0.0), 0
    clock, smallest = _Clock(), _filled(batch, _FEWEST)
    attack(smallest, 1)  # what is made at the first call is not counted
    one, _ = clock.step(attack, smallest, 1)
    taken = max(1, min(steps, int(_SECONDS / max(one, 1e-9))))
    known = _filled(batch, min(len(batch), _that_fit(one, len(smallest), taken)))
    seconds, stood = clock.step(attack, known, taken)
    other = _filled(batch, min(most, _that_fit(seconds, len(known), taken)))
    if len(other) <= len(known):
        other = _filled(batch, max(1, len(known) // 8))
    points = sorted([(len(known), seconds), (len(other), clock.step(attack, other, taken)[0])])
    return Line.through(*points).times(clock.slowdown), round(stood * len(batch) / len(known))


def _that_fit(step: float, rows: int, steps: int) -> int:
    """Images of a batch that so many steps take the allowed time for, if one takes so long on a batch of `rows`."""
    return max(_FEWEST, int(rows * _SECONDS / max(step * steps, 1e-9)))


def _filled(batch: Batch, rows: int) -> Batch:
    """A batch of so many images: the first of this one, or all of them and copies that differ by a ten-thousandth."""
    take = np.arange(rows) % len(batch)
    images = batch.images[take]
    images[len(batch) :] += 1e-4 * torch.rand(images[len(batch) :].shape, generator=torch.Generator().manual_seed(0))
    return Batch(images.clamp_(0, 1), batch.labels[take], np.arange(rows))


class _Clock:
    """Times work by what the processor does for it, which other processes leave alone, and by the clock.

    Attributes:
        wall: seconds by the clock, of everything timed.
        busy: seconds of this process, likewise.
    """

    def __init__(self) -> None:
        self.wall = self.busy = 0.0

    @property
    def slowdown(self) -> float:
        """How much longer things take by the clock: other processes, or one that computes for this one."""
        return max(self.wall / max(self.busy, 1e-9), 1.0)

    def step(self, attack: Callable[[Batch, int], int], batch: Batch, steps: int) -> tuple[float, int]:
        """Seconds of one step on a batch, without what comes before the first, and what the attack returns."""
        start, _ = self._timed(attack, batch, 1)
        whole, result = self._timed(attack, batch, 1 + steps)
        return max(whole - start, 0.0) / steps, result

    def _timed(self, attack: Callable[[Batch, int], int], batch: Batch, steps: int) -> tuple[float, int]:
        times: list[float] = []
        result = 0
        for _ in range(_REPEATS):
            began, busy = time.perf_counter(), time.process_time()
            result = attack(batch, steps)
            times.append(time.process_time() - busy)
            self.wall += time.perf_counter() - began
            self.busy += times[-1]
        return statistics.median(times), result


def _kept_by_a_gradient(model: nn.Module, image: Tensor) -> int:
    """Bytes that torch keeps of the way forward until the way back, for one image."""
    seen: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        seen[value.data_ptr()] = value.numel() * value.element_size()
        return value

    weights = {each.data_ptr() for each in (*model.parameters(), *model.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        model(image.clone().requires_grad_())
    return sum(size for place, size in seen.items() if place not in weights)
