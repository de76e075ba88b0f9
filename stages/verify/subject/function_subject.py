"""Python function under attack: images in, logits or labels out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ....core.errors import EngineFailure, UsageError, raised
from ....core.function import load_function_there
from ....core.user_modules import place
from ....targets.base import Images
from ....targets.process.own_process import PATIENCE, OwnProcess
from ...twin import load_twin
from .engine_module import AttackableEngine
from .guarded import Guarded
from .subject import OpenedSubject, in_batches


@dataclass(frozen=True)
class FunctionSubject:
    """A function: float32 images `[N, C, H, W]` in [0, 1] to logits `[N, K]` or labels `[N]`.

    One that is named runs in a process of its own. An image at which it raises, crashes or hangs, or that it answers
    with something that is no number, counts as not robust. One that is held in memory runs in this process, where
    nothing guards against a crash or a hang.

    Attributes:
        name: how the report calls it.
        function: its name, `package.module:function`, or the function itself.
        image_shape: channels, height, width.
        classes: number of classes.
        surrogate: an ONNX file whose gradients are tried; without one only black boxes attack.
        patience: seconds it may take for a batch before it counts as hung.
    """

    name: str
    function: str | Callable[[Any], Any]
    image_shape: tuple[int, int, int]
    classes: int
    surrogate: Path | None = None
    patience: float = PATIENCE

    def open(self) -> OpenedSubject:
        """Import the function, ask it once, and make the surrogate's twin.

        Raises:
            UsageError: it does not import, raises, or answers neither logits nor labels.
        """
        ask = self._ask()
        labels_only = self._try(ask)
        predict = Guarded(ask, self.classes)
        gradients: dict[str, nn.Module] = {}
        surrogate = None
        if self.surrogate is not None:
            twin = load_twin(self.surrogate)
            surrogate = in_batches(twin)
            # The surrogate on its own as well: through an answer of labels alone no loss can be told to rise.
            gradients["surrogate"] = AttackableEngine(predict, twin)
            gradients["surrogate-alone"] = twin
            if labels_only:
                gradients = dict(reversed(gradients.items()))
        doubts = {"labels-only"} if labels_only else set()
        return OpenedSubject(
            predict,
            gradients,
            self.classes,
            surrogate=surrogate,
            doubts=frozenset(doubts if gradients else {*doubts, "no-gradients"}),
            labels_only=labels_only,
            guard=predict,
            # There is no other one than that in memory.
            fresh=self.predictor if isinstance(self.function, str) else None,
        )

    def predictor(self) -> Guarded:
        """Import the function, in a process of its own; or the one in memory."""
        return Guarded(self._ask(), self.classes)

    def _ask(self) -> Callable[[Images], Any]:
        if not isinstance(self.function, str):
            return InThisProcess(self.function)
        return OwnProcess(partial(load_function_there, place(), self.function, "model"), patience=self.patience)

    def _try(self, ask: Callable[[Images], Any]) -> bool:
        """Ask about two gray images; return whether the answer is labels."""
        images = np.full((2, *self.image_shape), 0.5, np.float32)
        try:
            answer = np.asarray(ask(images))
        except EngineFailure as error:
            raise UsageError(f"{self._called}: float32 images {list(images.shape)}: {error}") from error
        if answer.shape == (2,) and np.issubdtype(answer.dtype, np.integer):
            return True
        if answer.shape != (2, self.classes) or not np.issubdtype(answer.dtype, np.number):
            raise UsageError(
                f"{self._called}: answers {answer.dtype} {list(answer.shape)} to two images; "
                f"logits [2, {self.classes}] or whole labels [2] are wanted"
            )
        return False

    @property
    def _called(self) -> str:
        return f"model {self.function!r}" if isinstance(self.function, str) else "model"


class InThisProcess:
    """A function in memory, asked with images of its own.

    Args:
        function: takes float32 images `[N, C, H, W]`.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, images: Images) -> Any:
        """Answer a batch, as an array.

        Raises:
            EngineFailure: the function raised, or answered with what is no array.
        """
        try:
            answer = self._function(images.copy())
            return np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer)
        except (Exception, SystemExit) as error:  # theirs may fail in any way
            raise EngineFailure(raised(error)) from error
