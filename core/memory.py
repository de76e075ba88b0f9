"""Memory of a process: how much it may take, what it does with what it no longer needs, and with all when it ends."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def half_the_memory() -> int:
    """Return half of the machine's memory, in bytes: what one file of somebody else's may take."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def limit_memory(most: int) -> None:
    """Let this process, and those that it starts, allocate so many bytes each; more fails, as where there is no more.

    What it only reserves, as CUDA does, does not count. For Linux; elsewhere systems may take no notice.
    """
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


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
