"""A model in a worker process: what it raises is its failure; where it hangs, the worker ends."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from edgeproof.core.errors import EngineFailure
from edgeproof.targets.process.watched import Watched

IMAGES = np.zeros((2, 1, 1, 1), np.float32)


def test_what_it_raises_is_a_failure_and_the_next_batch_is_answered():
    def moody(images: np.ndarray) -> np.ndarray:
        if len(images) == 1:
            raise RuntimeError("no single images\nand more words")
        return images[:, 0, 0]

    model = Watched(moody, patience=60)
    with pytest.raises(EngineFailure, match="raised RuntimeError: no single images"):
        model(IMAGES[:1])
    assert model(IMAGES).shape == (2, 1)
    model.close()


def test_a_slow_model_outlives_many_batches_that_are_each_in_time():
    model = Watched(lambda images: (time.sleep(0.1), images)[1], patience=0.3)
    for _ in range(5):
        assert model(IMAGES) is IMAGES
    time.sleep(0.6)  # nobody asks, so nothing hangs
    model.close()


def test_a_hang_ends_the_process():
    code = (
        "import time, numpy as np; from edgeproof.targets.process.watched import Watched; "
        "Watched(lambda images: time.sleep(60), patience=0.2)(np.zeros((1, 1, 1, 1), np.float32))"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    assert time.monotonic() - started < 30
