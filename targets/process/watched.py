"""Watchdog for a model in a worker process: what it raises is a failure of its own, a hang ends the worker."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ...core.errors import EngineFailure, raised
from ..base import Images

_LOOKS = 1.0  # seconds between two looks at the clock


class Watched:
    """A model, asked in this process, which ends when the model does not answer in time.

    For processes whose death somebody notices and makes good, such as the workers of a pool. A model that keeps the
    interpreter's lock while it hangs is not noticed.

    Args:
        model: a callable of a float32 batch `[N, C, H, W]`.
        patience: seconds one batch may take.
    """

    def __init__(self, model: Callable[[Images], Any], *, patience: float) -> None:
        self._model = model
        self._patience = patience
        self._until: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __call__(self, images: Images) -> Any:
        """Answer a batch.

        Raises:
            EngineFailure: the model raised.
        """
        self._until = time.monotonic() + self._patience
        try:
            return self._model(images)
        except Exception as error:  # a third party's model may fail in any way
            raise EngineFailure(raised(error)) from error
        finally:
            self._until = None

    def close(self) -> None:
        """Stop watching, and close the model where it can be closed."""
        self._closed.set()
        getattr(self._model, "close", lambda: None)()

    def _watch(self) -> None:
        while not self._closed.wait(min(_LOOKS, self._patience)):
            until = self._until
            if until is not None and time.monotonic() > until:
                os._exit(1)
