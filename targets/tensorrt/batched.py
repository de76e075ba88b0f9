"""Batch splitting and padding for an engine that takes only some batch sizes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from ..base import Engine, Images, Logits
from ..signature import ModelSignature


class BatchedEngine(Engine):
    """An engine that answers batches of `smallest` to `largest` images.

    Args:
        signature: what it answers.
        smallest: the fewest images it takes at once.
        largest: the most.
    """

    def __init__(self, signature: ModelSignature, smallest: int, largest: int) -> None:
        super().__init__(signature)
        self._smallest = smallest
        self._largest = largest

    def _run(self, images: Images) -> Logits:
        answers = [self._answer(part) for part in parts(images, self._smallest, self._largest)]
        return np.concatenate(answers)[: len(images)]

    @abstractmethod
    def _answer(self, images: Images) -> Logits:
        """Answer one contiguous batch of a size that it takes, in an array of its own."""


def parts(images: Images, smallest: int, largest: int) -> Iterator[Images]:
    """Split a non-empty batch into parts of at most `largest`; the last is padded to `smallest` with its last image."""
    for first in range(0, len(images), largest):
        part = images[first : first + largest]
        missing = max(0, smallest - len(part))
        yield np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
