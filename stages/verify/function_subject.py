"""A user's own Python function as a subject: images in, logits out, or only labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...targets.base import Images, Logits
from ...targets.errors import UsageError
from ...targets.function import load_function
from ..twin import load_twin
from .attackable import AttackableEngine
from .subject import BATCH, Predict, Surface


@dataclass(frozen=True)
class FunctionSubject:
    """A function `package.module:function`: float32 images `[N, C, H, W]` in [0, 1] to logits `[N, K]` or labels `[N]`.

    An image at which it raises, or that it answers with something that is no number, counts as not robust.

    Attributes:
        name: how the report calls it.
        function: its name.
        image_shape: channels, height, width.
        classes: number of classes.
        surrogate: an ONNX file whose gradients are tried; without one only black boxes attack.
    """

    name: str
    function: str
    image_shape: tuple[int, int, int]
    classes: int
    surrogate: Path | None = None

    def open(self) -> Surface:
        """Import the function, ask it once, and make the surrogate's twin.

        Raises:
            UsageError: it does not import, raises, or answers neither logits nor labels.
        """
        function = load_function(self.function, "model")
        labels_only = self._try(function)
        predict = self._guarded(function)
        gradients: dict[str, nn.Module] = {}
        if self.surrogate is not None:
            twin = load_twin(self.surrogate)
            # The surrogate on its own as well: through an answer of labels alone no loss can be told to rise.
            gradients["surrogate"] = AttackableEngine(predict, twin)
            gradients["surrogate-alone"] = twin
            if labels_only:
                gradients = dict(reversed(gradients.items()))
        doubts = {"labels-only"} if labels_only else set()
        return Surface(
            predict,
            gradients,
            self.classes,
            doubts=frozenset(doubts if gradients else {*doubts, "no-gradients"}),
            labels_only=labels_only,
        )

    def predictor(self) -> Predict:
        """Import the function."""
        return self._guarded(load_function(self.function, "model"))

    def _try(self, function: Callable[..., Any]) -> bool:
        """Ask about two gray images; return whether the answer is labels."""
        images = np.full((2, *self.image_shape), 0.5, np.float32)
        try:
            answer = np.asarray(function(images))
        except Exception as error:  # theirs may fail in any way
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"model {self.function!r}: fails on float32 images {list(images.shape)}: {reason}"
            ) from error
        if answer.shape == (2,) and np.issubdtype(answer.dtype, np.integer):
            return True
        if answer.shape != (2, self.classes) or not np.issubdtype(answer.dtype, np.number):
            raise UsageError(
                f"model {self.function!r}: answers {answer.dtype} {list(answer.shape)} to two images; "
                f"logits [2, {self.classes}] or whole labels [2] are wanted"
            )
        return False

    def _guarded(self, function: Callable[..., Any]) -> Predict:
        def ask(images: Images) -> Logits:
            try:
                answer = np.array(function(images.copy()))
                if answer.ndim == 1 and np.issubdtype(answer.dtype, np.integer):
                    answer = np.eye(self.classes, dtype=np.float32)[answer]
                if answer.shape == (len(images), self.classes):
                    return answer.astype(np.float32)
            except Exception:  # theirs may fail in any way, on any image
                pass
            if len(images) <= 1:
                return np.full((len(images), self.classes), np.nan, np.float32)
            half = len(images) // 2
            return np.concatenate([ask(images[:half]), ask(images[half:])])

        def predict(images: Images) -> Logits:
            if not len(images):
                return np.zeros((0, self.classes), np.float32)
            return np.concatenate([ask(images[first : first + BATCH]) for first in range(0, len(images), BATCH)])

        return predict
