"""Workers of an attack: processes, machines, and who is told how far they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..position import Position
from .machines import ALONE, Machines

# (shards done, shards in all, samples done, samples still robust, where those that run are)
Progress = Callable[[int, int, int, int, Sequence[Position]], None]


def untold(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Workforce:
    """Who attacks; the result depends on none of it.

    Attributes:
        workers: processes on this machine, one thread each.
        progress: called after every shard, and twice a second while some run.
        machines: those that share the shards; all must see the folder, and the leading one writes the result.
    """

    workers: int = 1
    progress: Progress = untold
    machines: Machines = ALONE
