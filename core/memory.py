"""Memory tuning: what a process does with memory that it no longer needs, and with all of it when it ends."""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep what it frees instead of returning it to the system; say whether that worked.

    A training step frees and takes the same tensors again and again. By default glibc hands the large ones back each
    time, and the system clears every page anew: a third of a step's time for small networks on a CPU. The process
    stays as large as it ever was. For Linux with glibc; elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)) and bool(mallopt(_M_MMAP_MAX, 0))


@cache
def end_quickly() -> None:
    """Let this process end without garbage collections, which find nothing but what ends with it anyway.

    With torch loaded they take a second. Exit handlers and finalizers of what is still referred to run as ever.
    """
    atexit.register(gc.freeze)
