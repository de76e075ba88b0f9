"""Server side of an isolated model: opens it and answers batches until nobody asks any more."""

from __future__ import annotations

import signal
import socket

from ...core.errors import EdgeproofError, StageError, raised, reason_of
from ...core.memory import end_quickly
from ...core.orphan import end_with
from .framing import packed, receive, send


def serve(descriptor: int, parent: int) -> None:
    """Read an opener, then batches, from a socket; write what they come to.

    Every answer is a pair: `("answer", value)`, `("raised", reason)`, or `("refused", error)` where the model
    does not open.

    Args:
        descriptor: file descriptor of the socket.
        parent: process number of who asks; this process ends with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when it is over
    end_with(parent)
    end_quickly()
    with socket.socket(fileno=descriptor) as there:
        try:
            model = receive(there)()
        except EdgeproofError as error:
            send(there, ("refused", error))
            return
        except Exception as error:  # a third party's target or function may fail in any way
            send(there, ("refused", StageError(reason_of(error))))
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
                answer = packed(("raised", raised(error)))
            there.sendall(answer)
