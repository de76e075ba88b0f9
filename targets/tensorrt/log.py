"""TensorRT logger: it keeps one per process, the first that it gets, so all share one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .library import Library

_KEPT = 2000
_LONGEST = 600
_turn = threading.RLock()
_logs: dict[str, Any] = {}


class Line(NamedTuple):
    """One message: `ERROR`, `WARNING`, ..., and its text."""

    severity: str
    text: str


def logger_of(library: Library) -> Any:
    """The process's logger, which collects `Line`s in `lines`."""
    with _turn:
        if library.title not in _logs:

            class Listener(library.api.ILogger):
                def __init__(self) -> None:
                    library.api.ILogger.__init__(self)
                    self.lines: deque[Line] = deque(maxlen=_KEPT)

                def log(self, severity: Any, msg: str) -> None:
                    if severity.name != "VERBOSE":
                        self.lines.append(Line(severity.name, msg.strip()))

            _logs[library.title] = Listener()
        return _logs[library.title]


@contextmanager
def listening(library: Library) -> Iterator[deque[Line]]:
    """Collect what is said meanwhile; builds and loads wait for each other, or their messages would mix."""
    with _turn:
        lines = logger_of(library).lines
        lines.clear()
        yield lines


def words(lines: Iterable[Line]) -> str:
    """The errors among the lines, each once, on one line."""
    # A copy: other threads' engines may be told something meanwhile.
    errors = [reason for line in tuple(lines) if "ERROR" in line.severity for reason in [readable(line.text)] if reason]
    return "; ".join(dict.fromkeys(errors)) or "it gives no reason"


def readable(text: str) -> str:
    """A message on one line, without what speaks of a missing GPU where none is needed, and of reasonable length."""
    lines = [line.strip() for line in text.splitlines()]
    told = " ".join(line for line in lines if line and "catchCudaError" not in line)
    return told if len(told) <= _LONGEST else told[:_LONGEST] + "…"
