"""The far side of an `OwnProcess`: opens a model and answers batches until nobody asks any more."""

from __future__ import annotations

import pickle
import signal
from multiprocessing.connection import Connection

from .errors import EdgeproofError, StageError, reason_of
from .orphan import end_with


def serve(descriptor: int, parent: int) -> None:
    """Read an opener, then batches, from a connection; write what they come to.

    Every answer is a pair: `("answer", value)`, `("raised", reason)`, or `("refused", error)` where the model
    does not open.

    Args:
        descriptor: file descriptor of the connection.
        parent: process number of who asks; this process ends with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when it is over
    end_with(parent)
    with Connection(descriptor) as connection:
        try:
            model = connection.recv()()
        except EdgeproofError as error:
            connection.send(("refused", error))
            return
        except Exception as error:  # a third party's target or function may fail in any way
            connection.send(("refused", StageError(reason_of(error))))
            return
        connection.send(("answer", None))
        while True:
            try:
                images = connection.recv()
            except EOFError:
                return
            try:
                answer = pickle.dumps(("answer", model(images)))
            except Exception as error:  # likewise
                answer = pickle.dumps(("raised", f"raised {type(error).__name__}: {reason_of(error)}"))
            connection.send_bytes(answer)
