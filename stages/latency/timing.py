"""Interleaved timing of several models: each in a process of its own, in turn, a few calls a round.

In turn, so that the machine's moods hit all alike; apart, because the threads of one runtime spin for a while after its
work is done, and would slow the next one down; and in random order, so that none always follows the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from ...core.cpu_load import busy_seconds
from ...targets.base import Images
from ...targets.process.timed import Opened, TimedProcess

ROUNDS = 20
# Seconds of a turn at least: shorter ones see the machine as the one before left it.
_TURN = 0.02
# Seconds before a turn, until the threads of the one before no longer spin.
_PAUSE = 0.005
_PATIENCE = 600.0

Opener = Callable[[], Callable[[Images], Any]]


@dataclass
class Timing:
    """What was measured of one model at one batch size.

    Attributes:
        rounds: milliseconds of each call, by round.
    """

    rounds: list[list[float]] = field(default_factory=list)

    @property
    def calls(self) -> np.ndarray:
        """Milliseconds of all calls `[K]`."""
        return np.concatenate([np.asarray(each) for each in self.rounds])

    @property
    def medians(self) -> np.ndarray:
        """The median of each round `[R]`."""
        return np.asarray([np.median(each) for each in self.rounds])

    def percentile(self, q: float) -> float:
        """A percentile of all calls, in milliseconds."""
        return float(np.percentile(self.calls, q))


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Attributes:
        opened: what opening took.
        cold_start: seconds from the start of its process to its first answer, one image or the smallest batch.
        memory: peak memory of its process in bytes, before the model was opened and altogether.
        timings: by batch size.
    """

    opened: Opened
    cold_start: float
    memory: tuple[int, int]
    timings: dict[int, Timing]


@dataclass(frozen=True)
class SideBySide:
    """Models that were timed side by side.

    Attributes:
        models: what was measured, by name.
        others: the share of the cores that other processes, and a hypervisor, took while a model was timed; None
            where the system does not tell.
    """

    models: dict[str, Measured]
    others: float | None


def side_by_side(
    openers: Mapping[str, Opener],
    batches: Mapping[int, Images],
    *,
    threads: int,
    repeats: int,
    warmup: int,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] | None = None,
) -> SideBySide:
    """Time models.

    Args:
        openers: by name; picklable, see `OwnProcess`.
        batches: images by batch size; the first is the cold start's.
        threads: of each runtime; each process is kept on as many cores.
        repeats: calls timed per model and batch size, at least.
        warmup: calls before the first round, not timed; each turn begins with one that is not timed either.
        rounds: how many turns each model has.
        progress: told how many turns of how many are over.

    Raises:
        EdgeproofError: a model does not open, or fails.
    """
    rng = np.random.default_rng(0)
    names, watch = list(openers), _Watch()
    timings: dict[str, dict[int, Timing]] = {name: {size: Timing() for size in batches} for name in names}
    done, total = 0, len(batches) * rounds * len(names)
    first = next(iter(batches.values()))
    with ExitStack() as stack:
        running: dict[str, TimedProcess] = {}
        for name, opener in openers.items():
            running[name] = TimedProcess(opener, first, threads=threads, patience=_PATIENCE)
            stack.callback(running[name].close)
        for size, images in batches.items():
            calls: dict[str, int] = {}
            for name, process in running.items():
                process.show(images)
                usual = float(np.median(process.time(warmup).seconds))
                calls[name] = max(ceil(repeats / rounds), ceil(_TURN / max(usual, 1e-6)))
            for _ in range(rounds):
                for name in _shuffled(names, rng):
                    time.sleep(_PAUSE)
                    with watch:
                        found = running[name].time(calls[name], warmup=1)
                    watch.ours += found.processor
                    timings[name][size].rounds.append([1000 * second for second in found.seconds])
                    done += 1
                    if progress is not None:
                        progress(done, total)
        models = {
            name: Measured(process.opened, process.cold_start, process.memory(), timings[name])
            for name, process in running.items()
        }
    return SideBySide(models, watch.others())


def _shuffled(names: list[str], rng: np.random.Generator) -> Iterable[str]:
    return [names[place] for place in rng.permutation(len(names))]


class _Watch:
    """How much the cores were used while something was timed, and how much of that was ours."""

    def __init__(self) -> None:
        self.ours = self._all = self._capacity = 0.0
        self._known = True

    def __enter__(self) -> None:
        self._started = busy_seconds()

    def __exit__(self, *_: object) -> None:
        ended = busy_seconds()
        if self._started is None or ended is None:
            self._known = False
            return
        self._all += ended[0] - self._started[0]
        self._capacity += ended[1] - self._started[1]

    def others(self) -> float | None:
        """The share of the capacity that was not ours; ours is rounded down to ticks of a hundredth of a second."""
        if not self._known or not self._capacity:
            return None
        return max(0.0, (self._all - self.ours) / self._capacity)
