"""CPU affinity: as many cores as a process has threads, and of siblings only the first."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


def pin(threads: int) -> tuple[int, ...]:
    """Keep this process, and the threads it starts from now on, on so many physical cores; return their numbers.

    Where the system has no such call (macOS, Windows) nothing happens and the answer is empty; where there are fewer
    cores, it is all of them.
    """
    if not hasattr(os, "sched_setaffinity"):
        return ()
    chosen = physical_cores()[:threads]
    os.sched_setaffinity(0, chosen)
    return chosen


def physical_cores() -> tuple[int, ...]:
    """The processors that this process may use, without the second and later ones of a core, by number."""
    found: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        try:
            core = (_TOPOLOGY / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
        except OSError:  # containers may hide it
            core = str(number)
        found.setdefault(core, number)
    return tuple(found.values())
