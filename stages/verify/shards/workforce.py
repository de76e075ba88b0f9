"""Workers of an attack: processes, machines, and who is told how far they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .machines import ALONE, Machines

# (shards done, shards in all, samples done, samples still robust)
Progress = Callable[[int, int, int, int], None]


def untold(*_: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Workforce:
    """Who attacks; the result depends on none of it.

    Attributes:
        workers: processes on this machine, one thread each.
        progress: called after every shard.
        machines: those that share the shards; all must see the folder, and the leading one writes the result.
    """

    workers: int = 1
    progress: Progress = untold
    machines: Machines = ALONE
