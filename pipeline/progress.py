"""Progress on stderr: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ..stages.distill import Epoch
    from ..stages.distill import Progress as Training
    from ..stages.verify.shards.sequential import Sequential

_WIDE, _BAR, _SHORT_BAR = 120, 40, 8


class Reporter:
    """Shows what a run is doing.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        from .terminal import Terminal

        self._console: Console = Terminal(file=sys.stderr, quiet=quiet)
        self._live = self._console.is_terminal and not quiet

    def notice(self, line: str) -> None:
        """Say something unusual."""
        self._console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Bar]:
        """Show a bar for the time of a stage."""
        if not self._live:
            yield Bar(None, None)
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        narrow = self._console.width < _WIDE  # there rich would cut the times and the figures to make room for the bar
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(_SHORT_BAR if narrow else _BAR),
            MofNCompleteColumn(),
            *(() if narrow else (TimeElapsedColumn(),)),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(name, total=total, note="")
            yield Bar(progress, task)
            whole = progress.tasks[task].total or 1
            progress.update(task, total=whole, completed=whole)


class Bar:
    """One stage's bar; does nothing where there is no terminal."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task
        self._validated = ""

    def step(self, progress: Training) -> None:
        """Show a step of training."""
        done = (progress.epoch - 1) * progress.steps + progress.step
        note = f"epoch {progress.epoch}/{progress.epochs}, {progress.images_per_second:,.0f} images/s{self._validated}"
        self._update(done, progress.epochs * progress.steps, note)

    def epoch(self, epoch: Epoch) -> None:
        """Show an epoch's validation."""
        self._validated = f", validation: clean {epoch.clean_accuracy:.3f}, PGD {epoch.pgd_accuracy:.3f}"

    def shards(self, done: int, total: int, samples: int, robust: int) -> None:
        """Show the running robust accuracy and its interval, which holds for as many samples as they are at the end."""
        if self._progress is None:
            return
        from ..stages.statistics.proportions import clopper_pearson

        self._robust(done, total, samples, robust, clopper_pearson(robust, samples))

    def shards_until(self, stop: Sequential, done: int, total: int, samples: int, robust: int) -> None:
        """Show the running robust accuracy of a run that may stop at any look, and the interval that holds at all."""
        if self._progress is not None:
            interval = stop.interval("robust_accuracy", robust, samples) if samples else None
            self._robust(done, total, samples, robust, interval)

    def _robust(self, done: int, total: int, samples: int, robust: int, interval: tuple[float, float] | None) -> None:
        within = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
        self._update(done, total, f"robust {robust / samples:.3f}{within} on {samples}" if samples else "")

    def layers(self, done: int, total: int) -> None:
        """Show how many layers' sensitivities are known."""
        self._update(done, total, "layers" if done < total else "candidates")

    def count(self, done: int, total: int) -> None:
        """Show how many of how many are done."""
        self._update(done, total, "")

    def _update(self, completed: int, total: int | None, note: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=completed, total=total, note=note)
