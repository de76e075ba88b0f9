"""Batches of any size, served by an engine that takes only some."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.targets.base import Images, Logits
from edgeproof.targets.signature import ModelSignature
from edgeproof.targets.tensorrt.batched import BatchedEngine


class Recording(BatchedEngine):
    """Answers sums of pixels, and keeps what it was asked."""

    def __init__(self, batch: int | None, smallest: int, largest: int) -> None:
        super().__init__(ModelSignature("images", "logits", (1, 2, 2), 1, batch), smallest, largest)
        self.asked: list[int] = []

    def _answer(self, images: Images) -> Logits:
        assert images.flags.c_contiguous
        self.asked.append(len(images))
        return images.sum((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("smallest", "largest", "count", "asked"),
    [
        (1, 8, 0, []),
        (1, 8, 1, [1]),
        (1, 8, 8, [8]),
        (1, 8, 20, [8, 8, 4]),
        (4, 8, 1, [4]),
        (4, 8, 5, [5]),
        (4, 8, 17, [8, 8, 4]),
        (8, 8, 9, [8, 8]),
    ],
)
def test_split_and_padded(smallest: int, largest: int, count: int, asked: list[int]):
    images = np.random.default_rng(0).random((count, 1, 2, 2), np.float32)
    engine = Recording(None, smallest, largest)
    np.testing.assert_array_equal(engine(images), images.sum((1, 2, 3))[:, None])
    assert engine.asked == asked


def test_a_fixed_batch():
    images = np.random.default_rng(0).random((7, 1, 2, 2), np.float32)
    engine = Recording(4, 4, 4)
    np.testing.assert_array_equal(engine(images[::-1]), images[::-1].sum((1, 2, 3))[:, None])
    assert engine.asked == [4, 4]
