"""Non-leading process (rank above 0): it joins trainings and attacks and waits for the rest.

With several devices or machines every process runs the same command. One of them leads: it holds the run's folder and
does everything. The others go through the same stages with a store that writes nothing: where a training stage is
missing they join in, for any other they wait until the leader has published it. All processes must see the folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import StageError
from ...core.writing.scratch import scratch_folder
from .artifact import Artifact, Stage
from .store import Store

POLL_SECONDS = 0.2


def follows() -> bool:
    """Whether another process leads, as the environment of torchrun, SLURM or Lightning Fabric tells."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") not in ("", "0") for name in ranks)


class FollowingStore(Store):
    """The store as a process sees it that does not lead.

    Args:
        root: the run's folder.
        notice: as of Store.
        shared: as of Store.
    """

    leads = False

    def __init__(self, root: Path, notice: Callable[[str], None] = lambda _: None, shared: Path | None = None) -> None:
        super().__init__(root, notice, shared)
        self._leader = os.getppid()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold nothing: the leader does."""
        yield

    def make(self, stage: Stage, work: Callable[[Path], object]) -> Artifact:
        """Return the leader's artifact; join its work first where there is none yet. Arguments as of Store."""
        identity = stage.identity()
        joined = False
        while True:
            found = self.find(identity)
            if found is not None:
                return found
            if stage.trains and not joined:
                with scratch_folder() as folder:  # what this process writes is not kept
                    work(folder)
                joined = True
            if stage.shared and not joined:
                work(self.partial(identity))
                joined = True
            if os.getppid() != self._leader:
                raise StageError(f"{stage.name}: the leading process is gone")
            time.sleep(POLL_SECONDS)

    def begin(self, request: str) -> None:
        """Say nothing: the leader does."""

    def publish(self, *_: Any, **__: Any) -> None:
        """Publish nothing: the leader does."""
