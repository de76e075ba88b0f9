"""Ending signals: SIGTERM and SIGHUP unwind the program as Ctrl-C does; workers and scratch files go with it."""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_received: list[int] = []


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; whoever cleans up after Ctrl-C does so after this."""


def unwind_on_signals() -> None:
    """Raise `Ended` in the main thread when a signal comes whose default is to end the process at once.

    What ignores it already, as under nohup, keeps ignoring it.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def received() -> int:
    """The signal that ended what was done; SIGINT where none came, which Python itself raises."""
    return _received[0] if _received else signal.SIGINT


def _raise(number: int, _: FrameType | None) -> None:
    _received.append(number)
    # A second one, while things are put away, ends the process as it would have from the start.
    signal.signal(number, signal.SIG_DFL)
    raise Ended
