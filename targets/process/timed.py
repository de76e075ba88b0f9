"""Timed model in a process of its own: the far side of `stages.latency.timing`. Needs no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...core.memory import half_the_memory
from ..base import Images
from .cores import pin
from .own_process import OwnProcess


@dataclass(frozen=True)
class Opened:
    """What opening a model took.

    Attributes:
        seconds: to import the runtime, and to check, read and compile the file.
        cores: the numbers of the cores that the process is kept on; empty where the system cannot.
        notes: the engine's; see `Engine`.
    """

    seconds: float
    cores: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Times:
    """Some calls, one after the other.

    Attributes:
        seconds: of each.
        processor: seconds that all threads of this process computed meanwhile, the calls before them included.
    """

    seconds: list[float]
    processor: float


class Timed:
    """A model and the images it is timed on.

    Args:
        opener: opens the model.
        threads: how many cores it gets.
    """

    def __init__(self, opener: Callable[[], Callable[[Images], Any]], threads: int) -> None:
        cores = pin(threads)
        self._before = peak_memory()
        started = time.perf_counter()
        self._model = opener()
        self.opened = Opened(time.perf_counter() - started, cores, getattr(self._model, "notes", ()))
        self._images: Images | None = None

    def __call__(self, task: Any) -> Any:
        """Do a task that a `TimedProcess` sends: a method's name and its arguments."""
        name, *arguments = task
        return getattr(self, name)(*arguments)

    def about(self) -> Opened:
        """What opening took."""
        return self.opened

    def show(self, images: Images) -> None:
        """Answer a batch once, and keep it for `time`."""
        self._images = images
        self._model(images)

    def time(self, calls: int, warmup: int) -> Times:
        """Answer the batch again and again, and say how long each of `calls` took after `warmup` others."""
        images, model = self._images, self._model
        assert images is not None, "show comes first"
        busy = time.process_time()
        for _ in range(warmup):
            model(images)
        seconds: list[float] = []
        for _ in range(calls):
            started = time.perf_counter()
            model(images)
            seconds.append(time.perf_counter() - started)
        return Times(seconds, time.process_time() - busy)

    def memory(self) -> tuple[int, int]:
        """The most memory this process ever held, in bytes: before the model was opened, and until now."""
        return self._before, peak_memory()


class TimedProcess:
    """A model that times itself, as seen from here.

    Args:
        opener: as an `OwnProcess` takes it.
        threads: of its runtime; it gets as many cores.
        patience: seconds that a task may take.
        images: the first batch it answers, a cold start's.

    Attributes:
        cold_start: seconds from the start of the process to its first answer; files may come from the system's cache.
        opened: what opening took of them.

    Raises:
        EdgeproofError: see `OwnProcess`.
    """

    def __init__(
        self, opener: Callable[[], Callable[[Images], Any]], images: Images, *, threads: int, patience: float
    ) -> None:
        started = time.perf_counter()
        self._process = OwnProcess(
            partial(Timed, opener, threads), patience=patience, threads=threads, memory=half_the_memory()
        )
        self.show(images)
        self.cold_start = time.perf_counter() - started
        self.opened: Opened = self._process(("about",))

    def show(self, images: Images) -> None:
        """Send the batch that is timed from now on."""
        self._process(("show", images))

    def time(self, calls: int, *, warmup: int = 0) -> Times:
        """Time some calls."""
        return self._process(("time", calls, warmup))

    def memory(self) -> tuple[int, int]:
        """Peak memory of its process in bytes, before the model was opened and until now."""
        return self._process(("memory",))

    def close(self) -> None:
        """End the process."""
        self._process.close()


def peak_memory() -> int:
    """The most memory this process ever held, in bytes: its peak resident set."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    # Not `ru_maxrss`: Linux begins it with the parent's, which the process was before `exec`.
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
