"""Server side of an isolated model: opens it and answers batches until nobody asks any more."""

from __future__ import annotations

import re
import signal
import socket

from ...core.errors import EdgeproofError, StageError, raised, reason_of
from ...core.memory import end_quickly, limit_memory
from ...core.orphan import end_with
from ...core.reading.bounded import in_bytes
from .framing import packed, receive, send

# What runtimes say that got no memory.
_NO_MEMORY = re.compile(r"bad.?alloc|allocate|out of memory|MemoryError", re.IGNORECASE)


def serve(descriptor: int, parent: int, memory: int | None = None) -> None:
    """Read an opener, then batches, from a socket; write what they come to.

    Every answer is a pair: `("answer", value)`, `("raised", reason)`, or `("refused", error)` where the model
    does not open.

    Args:
        descriptor: file descriptor of the socket.
        parent: process number of who asks; this process ends with it.
        memory: bytes that this process may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when it is over
    end_with(parent)
    end_quickly()
    if memory is not None:
        limit_memory(memory)
    with socket.socket(fileno=descriptor) as there:
        try:
            model = receive(there)()
        except EdgeproofError as error:
            said = _with_limit(str(error), memory)
            send(there, ("refused", error if said == str(error) else type(error)(said)))
            return
        except Exception as error:  # a third party's target or function may fail in any way
            send(there, ("refused", StageError(_with_limit(reason_of(error), memory))))
            return
        send(there, ("answer", None))
        while True:
            try:
                images = receive(there)
            except EOFError:
                return
            try:
                answer = packed(("answer", model(images)))
            except Exception as error:  # likewise; or no pickle takes the answer
                answer = packed(("raised", _with_limit(raised(error), memory)))
            there.sendall(answer)


def _with_limit(said: str, memory: int | None) -> str:
    """What an error says, and the limit where it is about memory."""
    if memory is None or not _NO_MEMORY.search(said):
        return said
    return f"{said}; a process that runs a model may take {in_bytes(memory)} here, half of the memory"
