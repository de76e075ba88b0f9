"""Line of the user's own file at which somebody else's exception was raised."""

from __future__ import annotations

import traceback
from pathlib import Path

from .finder import reachable


def fault_line(error: BaseException, module: str) -> str:
    """Return ` (FILE, line N)` for the last line of a user's module, or of what it imports of its neighbours.

    Args:
        error: what was raised.
        module: the user's module.

    Returns:
        An empty string where none of their lines took part, as when a call does not fit.
    """
    files = {str(file.resolve()): file.name for file in reachable([module]).values()}
    if isinstance(error, SyntaxError) and error.filename:
        frames = [(error.filename, error.lineno)]
    else:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    for file, line in reversed(frames):
        if (name := files.get(str(Path(file).resolve()))) and line:
            return f" ({name}, line {line})"
    return ""
