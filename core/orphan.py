"""Orphaned processes: workers that end when the process they work for is gone."""

from __future__ import annotations

import os
import threading
import time
from functools import cache


@cache
def end_with(parent: int) -> None:
    """Make this process end soon after its parent; a killed parent cannot tell it to.

    Args:
        parent: the parent's process number; nothing happens in that process itself.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getpid() != parent:
        threading.Thread(target=watch, daemon=True).start()
