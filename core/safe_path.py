"""Safe-path mode: child processes that import nothing from the folder they are started in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "PYTHONSAFEPATH"


def keep_children_safe() -> None:
    """Start every further Python process in safe-path mode.

    `python -c` and `python -m` look in the working directory first: a `numpy.py` in somebody's checkout would be run in
    place of the installed one by every worker and resource tracker. The path that a worker gets from its parent is not
    touched, so that the user's own functions are found as they are there.
    """
    os.environ[_VARIABLE] = "1"


@contextmanager
def safe_children() -> Iterator[None]:
    """Like `keep_children_safe`, for a while: the environment is the caller's, who may start scripts of their own."""
    before = os.environ.get(_VARIABLE)
    keep_children_safe()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
