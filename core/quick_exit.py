"""Quick exit: a process that ends without looking through all it has loaded for garbage."""

from __future__ import annotations

import atexit
import gc
from functools import cache


@cache
def end_quickly() -> None:
    """Let this process end without garbage collections, which find nothing but what ends with it anyway.

    With torch loaded they take a second. Exit handlers and finalizers of what is still referred to run as ever.
    """
    atexit.register(gc.freeze)
