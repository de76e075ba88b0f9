"""Timing side by side: what is measured is what happened, and the interval is that of the ratio."""

from __future__ import annotations

import os
import time
from functools import partial

import numpy as np
import pytest
from edgeproof.core.cpu_load import busy_seconds
from edgeproof.core.errors import EngineFailure
from edgeproof.stages.latency.ratios import paired_ratio
from edgeproof.stages.latency.timing import side_by_side
from edgeproof.targets.process.cores import physical_cores
from edgeproof.targets.process.timed import TimedProcess

IMAGES = np.zeros((2, 1, 2, 2), np.float32)
HELD = 64 * 2**20


class Sleeper:
    """Takes its time, holds some memory, and knows the cores it may use."""

    def __init__(self, seconds: float, held: int = 0) -> None:
        self.notes = (str(sorted(os.sched_getaffinity(0))),)
        self.seconds, self.held = seconds, np.ones(held, np.uint8)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds * len(images))
        return images


def broken() -> Sleeper:
    raise RuntimeError("no such luck")


def test_each_is_timed_in_a_process_of_its_own():
    openers = {"slow": partial(Sleeper, 0.004, HELD), "quick": partial(Sleeper, 0.002)}
    batches = {2: IMAGES, 1: IMAGES[:1]}
    turns: list[tuple[int, int]] = []
    found = side_by_side(
        openers, batches, threads=1, repeats=12, warmup=2, rounds=4, progress=lambda *turn: turns.append(turn)
    )
    slow, quick = found.models["slow"], found.models["quick"]
    # A sleep is never shorter than asked for; how much longer is the machine's affair.
    assert slow.timings[2].calls.min() >= 8
    assert quick.timings[1].calls.min() >= 2
    assert [len(each) for each in slow.timings[1].rounds] == [len(slow.timings[1].rounds[0])] * 4
    assert len(slow.timings[1].calls) >= 12
    assert slow.opened.cores == physical_cores()[:1]
    assert slow.opened.notes == (str(list(physical_cores()[:1])),)
    assert slow.memory[1] - slow.memory[0] >= HELD
    assert quick.memory[1] - quick.memory[0] < HELD
    assert slow.cold_start > slow.opened.seconds
    assert found.others is None or 0 <= found.others <= 1
    assert turns == [(turn, 16) for turn in range(1, 17)]


def test_a_model_that_does_not_open_is_said():
    with pytest.raises(Exception, match="no such luck"):
        TimedProcess(broken, IMAGES, threads=1, patience=10)


def test_a_model_that_fails_is_said():
    with pytest.raises(EngineFailure, match="raised ValueError"):
        side_by_side({"x": partial(Sleeper, -1)}, {1: IMAGES[:1]}, threads=1, repeats=10, warmup=1)


def test_a_ratio_and_its_interval():
    rng = np.random.default_rng(0)
    moods = rng.uniform(1, 5, 40)  # of the machine, which both meet
    found = paired_ratio(3 * moods * rng.normal(1, 0.02, 40), moods)
    assert found.low < 3 < found.high
    assert found.high - found.low < 0.1
    steady = paired_ratio(np.full(5, 6.0), np.full(5, 2.0))
    assert (steady.ratio, steady.low, steady.high) == (3, 3, 3)
    with pytest.raises(ValueError, match="same rounds"):
        paired_ratio(np.ones(3), np.ones(4))


def test_intervals_cover():
    """Of 200 comparisons about 95 % hold the true ratio; at random fewer than 178 would once in 10,000 times."""
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        found = paired_ratio(2 * rng.lognormal(0, 0.1, 20), rng.lognormal(0, 0.1, 20), seed=seed)
        held += found.low <= 2 <= found.high
    assert held >= 178


def test_a_busy_machine_is_seen():
    before = busy_seconds()
    if before is None:
        pytest.skip("no /proc/stat here")
    ended = time.process_time() + 0.3
    while time.process_time() < ended:
        pass
    after = busy_seconds()
    assert after is not None
    assert after[0] - before[0] >= 0.25
    # The kernel counts in hundredths of a second.
    assert after[1] - before[1] >= after[0] - before[0] - 0.005
