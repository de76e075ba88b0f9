"""CPU load of the machine."""

from __future__ import annotations

import os
from pathlib import Path

_STAT = Path("/proc/stat")
# Columns of its first line (proc_stat(5)): user nice system idle iowait irq softirq steal.
_IDLE, _COLUMNS = (3, 4), 8


def busy_seconds() -> tuple[float, float] | None:
    """Seconds, summed over all cores since the machine started: busy (with those a hypervisor took), and altogether.

    None where the system has no such counters.
    """
    try:
        first = _STAT.read_text().split("\n", 1)[0]
    except OSError:
        return None
    ticks = [int(number) for number in first.split()[1 : 1 + _COLUMNS]]
    total = sum(ticks)
    idle = sum(ticks[place] for place in _IDLE)
    second = os.sysconf("SC_CLK_TCK")
    return (total - idle) / second, total / second
