"""Isolated model in a process of its own: what crashes or hangs there takes nothing else with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

from ...core.errors import EngineFailure, StageError, reason_of
from ..base import Engine, EngineFile, targets
from .framing import receive, send

# Seconds a model may take for one batch before it counts as hung, and how much longer to open.
PATIENCE = 60.0
_OPENING = 10
# Seconds for an answer to one image of a model that nobody knows yet: what takes longer is never attacked to an end.
FIRST_ANSWER = 5.0

_SERVE = (
    "import sys; sys.path[:] = sys.argv[4:]; from edgeproof.targets.process.serving import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) or None)"
)
# What libraries read that a runtime may use; its own thread counts go by its options.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class OwnProcess:
    """A model, opened and asked in a process of its own, which is started again after it died.

    Args:
        opener: picklable; returns the model, a callable of a float32 batch `[N, C, H, W]` or of anything else that can
            be pickled. It and its module must not need torch if the process is to start soon.
        patience: seconds one batch may take.
        first: seconds a batch may take until one is answered, where that is less.
        threads: of the libraries in the process; one, where processes side by side share the cores.
        memory: bytes that the process may take; None where that is for the model's owner to say.

    Raises:
        EdgeproofError: the opener raised one; anything else it raises comes as a StageError.
        EngineFailure: the process died or hung while it opened the model.
    """

    def __init__(
        self,
        opener: Callable[[], Callable[[Any], Any]],
        *,
        patience: float = PATIENCE,
        first: float | None = None,
        threads: int = 1,
        memory: int | None = None,
    ) -> None:
        self._opener = opener
        self._environment = dict.fromkeys(_THREADS, str(threads))
        self._patience = patience
        self._first = first
        self._memory = memory
        self._open()

    def __call__(self, images: Any) -> Any:
        """Answer a batch.

        Raises:
            EngineFailure: the model raised, or its process died or did not answer in time; the next call finds a
                fresh one.
        """
        if not self._finalizer.alive:
            self._open()
        try:
            send(self._socket, images)
        except OSError:
            raise EngineFailure(self._died()) from None
        answer = self._answer(self._first or self._patience)
        self._first = None
        return answer

    def close(self) -> None:
        """End the process; a further call starts another."""
        self._finalizer()

    def _open(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            numbers = map(str, (theirs.fileno(), os.getpid(), self._memory or 0))
            command = [sys.executable, "-P", "-c", _SERVE, *numbers, *sys.path]
            # A model that prints must not spoil a report on standard output.
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**os.environ, **self._environment},
            )
        self._socket, self._process = ours, process
        self._finalizer = weakref.finalize(self, _end, ours, process)
        try:
            send(ours, self._opener)
        except OSError:
            raise EngineFailure(self._died()) from None
        self._answer(_OPENING * self._patience)

    def _answer(self, patience: float) -> Any:
        self._socket.settimeout(patience)
        try:
            kind, value = receive(self._socket)
        except TimeoutError:
            self.close()
            raise EngineFailure(f"hung: no answer within {patience:g} seconds") from None
        except (EOFError, OSError):
            raise EngineFailure(self._died()) from None
        if kind == "refused":
            self.close()
            raise value
        if kind == "raised":
            raise EngineFailure(value)
        return value

    def _died(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        return f"crashed: its process ended with {'signal ' if code and code < 0 else ''}{abs(code or 0)}"


def _end(there: socket.socket, process: subprocess.Popen[bytes]) -> None:
    there.close()
    process.kill()
    process.wait()


def open_engine(engine: EngineFile, threads: int = 1) -> Engine:
    """Load an engine by its target: an opener for `OwnProcess`.

    Raises:
        BackendMissing: the target's runtime is not installed.
        StageError: the file was altered, the runtime refuses it, or it takes more memory than there is.
    """
    try:
        return targets[engine.target].load(engine, threads=threads)
    except MemoryError as error:
        raise StageError(f"{engine.path}: {reason_of(error)}") from None
