"""Store that only looks: a stage that is there is taken, one that is not ends the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..store.artifact import Artifact, Stage
from ..store.place import Place
from ..store.store import Store


class NotMadeError(Exception):
    """A stage whose artifact is not in the store."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class LookingStore(Store):
    """A run's store for reading alone; neither it nor the run's folder need be there.

    Args:
        root: the run's folder.
        shared: the folder of artifacts that runs share.
    """

    def __init__(self, root: Path, shared: Path | None = None) -> None:
        self.place = Place.named(root, shared)
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold nothing."""
        yield

    def make(self, stage: Stage, work: Callable[[Path], object]) -> Artifact:
        """Return the stage's artifact.

        Raises:
            NotMadeError: it is not there.
        """
        del work
        found = self.find(stage.identity())
        if found is None:
            raise NotMadeError(stage.name)
        return found


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a plan.

    Attributes:
        name: its name.
        state: `cached`; `to do`; or `after <stage>`, where what it depends on is not there, so that nobody knows yet.
    """

    name: str
    state: str

    @property
    def cached(self) -> bool:
        """Whether nothing has to be done."""
        return self.state == CACHED


CACHED, TO_DO = "cached", "to do"


def planned(steps: Iterator[tuple[str, Callable[[], object]]]) -> Iterator[PlannedStage]:
    """Say of each stage, in the order of the run, whether it is there.

    Args:
        steps: names, and what asks a `LookingStore` for each.
    """
    missing: set[str] = set()
    for name, ask in steps:
        try:
            ask()
        except NotMadeError as error:
            # The first that asks for it is the stage itself: what it depends on comes before it.
            yield PlannedStage(name, f"after {error.stage}" if error.stage in missing else TO_DO)
            missing.add(error.stage)
        else:
            yield PlannedStage(name, CACHED)
