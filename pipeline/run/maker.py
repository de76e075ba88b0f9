"""Making of artifacts: each once a run, and progress shown meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..progress import Bar, Reporter
from ..store.artifact import Artifact, Stage
from ..store.store import Store

# Does a stage in a folder, telling a progress bar.
Work = Callable[[Path, Bar], object]


class Maker:
    """Makes artifacts, each once, and remembers them for the run.

    Args:
        store: where artifacts live.
        reporter: where progress goes.

    Attributes:
        made: the run's artifacts by stage.
    """

    def __init__(self, store: Store, reporter: Reporter) -> None:
        self.store = store
        self.reporter = reporter
        self.made: dict[str, Artifact] = {}

    def make(self, stage: Stage, work: Work, total: int | None = None) -> Artifact:
        """Make a stage's artifact unless the store has it; see `Store.make`.

        Args:
            stage: what it is made from, and how.
            work: does it.
            total: what its progress bar counts to.
        """
        with self.reporter.stage(stage.name, total, kept=True) as bar:

            def begin(folder: Path) -> None:
                bar.begin()
                work(folder, bar)

            self.made[stage.name] = self.store.make(stage, begin)
        return self.made[stage.name]
