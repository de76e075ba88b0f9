"""Progress on stderr: a bar on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ..stages.distill import Epoch
    from ..stages.distill import Progress as Training
    from ..stages.verify.position import Position
    from ..stages.verify.shards.sequential import Sequential

_WIDE, _BAR = 120, 40
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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        narrow = self._console.width < _WIDE  # there the bar takes what times and figures leave
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(None if narrow else _BAR),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *(() if narrow else (TimeElapsedColumn(),)),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(name, total=total, note="", left="")
            yield Bar(progress, task)
            whole = progress.tasks[task].total or 1
            progress.update(task, total=whole, completed=whole, left="")


class Bar:
    """One stage's bar; does nothing where there is no terminal."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task
        self._validated = ""
        # When it was updated for the first time, and at what.
        self._first: tuple[float, float] | None = None

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

    def shards(self, done: int, total: int, samples: int, robust: int, running: Sequence[Position] = ()) -> None:
        """Show the robust accuracy so far: where shards are that run, else its interval, as of the samples done."""
        if self._silent or self._within(done, total, samples, robust, running):
            return
        from ..stages.statistics.proportions import clopper_pearson

        self._robust(done, total, samples, robust, clopper_pearson(robust, samples))

    def shards_until(
        self, stop: Sequential, done: int, total: int, samples: int, robust: int, running: Sequence[Position] = ()
    ) -> None:
        """Likewise, of a run that may stop at any look; the interval is the one that holds at all of them."""
        if not self._silent and not self._within(done, total, samples, robust, running):
            interval = stop.interval("robust_accuracy", robust, samples) if samples else None
            self._robust(done, total, samples, robust, interval)

    def _within(self, done: int, total: int, samples: int, robust: int, running: Sequence[Position]) -> bool:
        """Show shards that run: the attack, the samples left, what can be robust at most; False where none runs."""
        if not running:
            return False
        left, more = sum(each.left for each in running), len({each.attack for each in running}) - 1
        attack = f"{running[0].attack} +{more}" if more else running[0].attack
        so_far = (robust + left) / (samples + sum(each.samples for each in running))
        share = done + sum(each.share for each in running)
        self._update(share, total, f"{attack}: {left} left, robust <= {so_far:.3f}")
        return True

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

    def _update(self, completed: float, total: int | None, note: str) -> None:
        if self._progress is not None and self._task is not None:
            left = self._time_left(completed, total)
            self._progress.update(self._task, completed=completed, total=total, note=note, left=left)

    def _time_left(self, completed: float, total: int | None) -> str:
        """How long the rest takes at the pace so far: `1:05`; empty where nothing was done yet, or all is."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, completed
        began, before = self._first
        if not total or not before < completed < total:
            return ""
        seconds = (now - began) * (total - completed) / (completed - before)
        return str(timedelta(seconds=round(seconds))).removeprefix("0:")


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

    def _update(self, completed: float, total: int | None, note: str) -> None:
        left = self._time_left(completed, total)
        parts = ["" if total is None else f"{int(completed)}/{total}", note, f"about {left} to go" if left else ""]
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
