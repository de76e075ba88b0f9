"""Attack cost of a subject whose gradient takes a known time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from edgeproof.stages.data import Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Evaluation, VerifyConfig
from edgeproof.stages.verify.cost import attack_cost
from edgeproof.stages.verify.cost.measured import Line
from edgeproof.stages.verify.subject.subject import OpenedSubject, in_batches
from torch import Tensor, nn

STEP = 0.004


class Slow(nn.Module):
    """Takes a few milliseconds of processor time for every batch."""

    def forward(self, images: Tensor) -> Tensor:
        until = time.process_time() + STEP
        while time.process_time() < until:
            pass
        return 9 * images.flatten(1)[:, :4]


@dataclass(frozen=True)
class SlowSubject:
    """Opened anew by each worker."""

    name: str = "slow"

    def open(self) -> OpenedSubject:
        model = Slow()
        return OpenedSubject(in_batches(model), {"autograd": model}, 4)

    def predictor(self):
        return in_batches(Slow())


@pytest.fixture
def evaluation() -> Evaluation:
    labels = np.arange(8) % 4
    images = np.full((8, 1, 2, 2), 0.2, np.float32)
    images.reshape(8, 4)[np.arange(8), labels] = 0.8
    config = VerifyConfig(routes=("square",), attacks=("apgd-ce",), curve=None)
    return Evaluation(Split(images, labels, np.arange(8)), ThreatModel(eps=0.01), config)  # type: ignore[arg-type]


def test_seconds_are_those_of_a_step_times_the_steps(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgeproof.stages.verify.cost.measured._SECONDS", 0.02)
    cost = attack_cost(SlowSubject(), evaluation, ["apgd-ce"], workers=1, curve=False)
    assert (cost.right, cost.stood, cost.measured, cost.workers) == (8, 8, 8, 1)
    assert (cost.gradients, cost.answers) == (100, 0)
    # A hundred steps of one batch, and the share of the checks; other processes may slow it down, nothing speeds it up.
    assert 100 * STEP <= cost.most == cost.seconds < 100 * 100 * STEP
    assert cost.gradient is not None
    assert cost.gradient.of(8) >= 0.9 * STEP


def test_a_line_through_two_measurements():
    line = Line.through((10, 3.0), (30, 7.0))
    assert (line.fixed, line.each) == pytest.approx((1.0, 0.2))
    assert line.of(20) == pytest.approx(5.0)
    assert line.of(40, batches=2) == pytest.approx(10.0)
    assert line.of(0) == 0
    # Noise that makes a larger batch seem the quicker one is no gain for still larger ones.
    assert Line.through((10, 4.0), (20, 3.0)).of(1000) == pytest.approx(3.0)
