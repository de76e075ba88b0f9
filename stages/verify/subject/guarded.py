"""Fault-tolerant forward: where the model fails at an image it answers NaN, which counts as wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ....core.errors import EngineFailure
from ....core.reading.counted import counted
from ....targets.base import Images, Logits
from ...threat import ThreatModel

# Images shown to a model at a time.
BATCH = 256
# An image is within a ball if it is so up to rounding.
_ROUNDING = 1e-6


class SamplesFailed(Exception):
    """The model failed at images within the balls of some samples, which are broken thereby.

    Attributes:
        rows: which of the watched samples.
        images: `[len(rows), C, H, W]`, an image for each at which it failed.
    """

    def __init__(self, rows: np.ndarray, images: Images) -> None:
        super().__init__(f"the model failed at {len(rows)} samples")
        self.rows = rows
        self.images = images


class Guarded:
    """Images `[N, C, H, W]`, any N, to float32 logits `[N, K]`; rows of NaN where the model has no answer.

    A failing batch is asked again image by image, and an image twice, before it is given up.

    Args:
        ask: the model; it raises EngineFailure, or returns logits `[N, K]` or whole labels `[N]`.
        classes: K.
    """

    def __init__(self, ask: Callable[[Images], Any], classes: int) -> None:
        self._ask = ask
        self._classes = classes
        self._given_up: dict[bytes, str] = {}
        self._singly = False
        self._watched: tuple[Images, ThreatModel] | None = None

    @property
    def failures(self) -> list[str]:
        """Why it was given up, for every image at which it was."""
        return list(self._given_up.values())

    def __call__(self, images: Images) -> Logits:
        """Answer.

        Raises:
            SamplesFailed: while samples are watched, and it fails within their balls.
        """
        parts = [self._batch(images[first : first + BATCH]) for first in range(0, len(images), BATCH)]
        logits = np.concatenate([np.zeros((0, self._classes), np.float32), *parts])
        if self._watched is not None and self._given_up:
            broken = _owners(images[[image.tobytes() in self._given_up for image in images]], *self._watched)
            if broken:
                raise SamplesFailed(np.array(list(broken)), np.stack(list(broken.values())))
        return logits

    def first_answer(self, image: Images) -> Logits:
        """Answer one image `[1, C, H, W]`, asked once.

        Raises:
            EngineFailure: there is no answer.
        """
        return self._logits(image)

    def close(self) -> None:
        """Close the model, where it can be closed."""
        getattr(self._ask, "close", lambda: None)()

    @contextmanager
    def watching(self, clean: Images, threat: ThreatModel) -> Iterator[None]:
        """Raise SamplesFailed, for as long as the context lasts, as soon as one of the samples is seen to fail.

        An attack that went on would ask about it thousands of times, at the price of a new process each.
        """
        self._watched = clean, threat
        try:
            yield
        finally:
            self._watched = None

    def _batch(self, images: Images) -> Logits:
        logits = np.full((len(images), self._classes), np.nan, np.float32)
        known = np.zeros(len(images), bool)
        if self._given_up:
            known[:] = [image.tobytes() in self._given_up for image in images]
        rows = np.flatnonzero(~known)
        if len(rows) and not self._singly:
            try:
                logits[rows] = self._logits(images[rows])
                return logits
            except EngineFailure:
                # No image alone to blame: it is the size of the batch that the model cannot take.
                self._singly = not self._one_by_one(images, rows, logits) and len(rows) > 1
                return logits
        self._one_by_one(images, rows, logits)
        return logits

    def _one_by_one(self, images: Images, rows: np.ndarray, logits: Logits) -> bool:
        """Fill in the rows' logits; return whether any was given up."""
        before = len(self._given_up)
        for row in rows:
            image = images[row : row + 1]
            try:
                try:
                    logits[row] = self._logits(image)[0]
                except EngineFailure:
                    logits[row] = self._logits(image)[0]
            except EngineFailure as failure:
                self._given_up[image[0].tobytes()] = str(failure)
        return len(self._given_up) > before

    def _logits(self, images: Images) -> Logits:
        answer = np.asarray(self._ask(images))
        if answer.ndim == 1 and np.issubdtype(answer.dtype, np.integer) and len(answer) == len(images):
            if answer.min(initial=0) < 0 or answer.max(initial=0) >= self._classes:
                raise EngineFailure("answers with a label that is none of the classes")
            return np.eye(self._classes, dtype=np.float32)[answer]
        if answer.shape != (len(images), self._classes):
            raise EngineFailure(f"answers {list(answer.shape)} to {counted(len(images), 'image')}")
        try:
            return answer.astype(np.float32)
        except (TypeError, ValueError):
            raise EngineFailure(f"answers with {answer.dtype}, which are no numbers") from None


def _owners(failing: Images, clean: Images, threat: ThreatModel) -> dict[int, np.ndarray]:
    """Rows of the samples that have one of the images in their ball, each with that image."""
    owners: dict[int, np.ndarray] = {}
    for image in failing:
        sizes = threat.geometry.size(torch.from_numpy(image - clean)).numpy()
        for row in np.flatnonzero(sizes <= threat.eps + _ROUNDING):
            owners.setdefault(int(row), image)
    return owners
