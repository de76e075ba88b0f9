"""Progress on stderr: a bar on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ..stages.distill import Epoch
    from ..stages.distill import Progress as Training
    from ..stages.verify.shards.sequential import Sequential

_WIDE, _BAR, _SHORT_BAR = 120, 40, 8
# Seconds after which a stage that goes on says so, at first and again and again.
_FIRST, _AGAIN = 2, 30


class Reporter:
    """Shows what a run is doing.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        from .terminal import Terminal

        self._console: Console = Terminal(file=sys.stderr, quiet=quiet)
        self._quiet = quiet
        self._live = self._console.is_terminal and not quiet

    def notice(self, line: str) -> None:
        """Say something unusual."""
        self._console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None = None, *, kept: bool = False) -> Iterator[Bar]:
        """Show a bar for the time of a stage, or lines where there is no terminal.

        Args:
            name: of the stage.
            total: what the bar counts to.
            kept: whether its result may be there already; work then begins with `Bar.begin`.
        """
        if self._quiet:
            yield Bar(None, None)
            return
        if not self._live:
            with _lines(self._console, name, kept=kept) as lines:
                yield lines
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

    def begin(self) -> None:
        """Say that the work begins, of a stage whose result was not there."""

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
        if self._silent:
            return
        from ..stages.statistics.proportions import clopper_pearson

        self._robust(done, total, samples, robust, clopper_pearson(robust, samples))

    def shards_until(self, stop: Sequential, done: int, total: int, samples: int, robust: int) -> None:
        """Show the running robust accuracy of a run that may stop at any look, and the interval that holds at all."""
        if not self._silent:
            interval = stop.interval("robust_accuracy", robust, samples) if samples else None
            self._robust(done, total, samples, robust, interval)

    def _robust(self, done: int, total: int, samples: int, robust: int, interval: tuple[float, float] | None) -> None:
        within = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
        self._update(done, total, f"robust {robust / samples:.3f}{within} on {samples}" if samples else "")

    @property
    def _silent(self) -> bool:
        return self._progress is None

    def layers(self, done: int, total: int) -> None:
        """Show how many layers' sensitivities are known."""
        self._update(done, total, "layers" if done < total else "candidates")

    def count(self, done: int, total: int) -> None:
        """Show how many of how many are done."""
        self._update(done, total, "")

    def _update(self, completed: int, total: int | None, note: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=completed, total=total, note=note)


class _Lines(Bar):
    """A stage's lines: that it has started where it takes a while, how far it is every half a minute, and its end.

    What is done each time says nothing where it is done at once.
    """

    def __init__(self, console: Console, name: str, *, kept: bool) -> None:
        super().__init__(None, None)
        self._console, self._name, self._kept, self._note = console, name, kept, ""
        self._began: float | None = None
        self._ended = Event()
        if not kept:
            self.begin()

    @property
    def _silent(self) -> bool:
        return False

    def begin(self) -> None:
        """Say so in a moment, if the work is not done by then."""
        self._began = time.monotonic()
        Thread(target=self._tell, daemon=True).start()

    def end(self, *, failed: bool) -> None:
        """Say how long it took and what it came to, or that nothing had to be done."""
        self._ended.set()
        if failed:
            return
        if self._began is None:
            self._say("from the store")
        elif self._kept or time.monotonic() - self._began > _FIRST:
            self._say(f"finished in {self._seconds()}{self._note}")

    def _tell(self) -> None:
        if self._ended.wait(_FIRST):
            return
        self._say("started")
        while not self._ended.wait(_AGAIN):
            self._say(f"{self._seconds()}{self._note}")

    def _seconds(self) -> str:
        return f"{time.monotonic() - (self._began or 0):.0f} s"

    def _say(self, line: str) -> None:
        self._console.print(f"{self._name}: {line}", highlight=False, markup=False, soft_wrap=True)

    def _update(self, completed: int, total: int | None, note: str) -> None:
        parts = ["" if total is None else f"{completed}/{total}", note]
        self._note = "".join(f", {part}" for part in parts if part)


@contextmanager
def _lines(console: Console, name: str, *, kept: bool) -> Iterator[_Lines]:
    lines = _Lines(console, name, kept=kept)
    failed = True
    try:
        yield lines
        failed = False
    finally:
        lines.end(failed=failed)
