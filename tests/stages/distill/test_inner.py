"""Inner maximisation: the ball, the starts, and a brute-force reference."""

from __future__ import annotations

import pytest
import torch
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.distill import InnerConfig, InnerMaximisation
from edgeproof.stages.norms.base import norms
from edgeproof.stages.threat import ThreatModel
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=40)
@given(
    norm=st.sampled_from(["Linf", "L2"]),
    eps=st.floats(0.01, 0.9),
    start=st.sampled_from(["none", "gaussian", "uniform"]),
    steps=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_the_result_is_in_the_ball_and_in_range(norm, eps, start, steps, seed):
    torch.manual_seed(seed)
    x = torch.rand(4, 1, 3, 3).round(decimals=1)  # some pixels sit on the edge of the range
    weights = torch.randn_like(x)
    maximisation = InnerMaximisation(norms[norm], eps, eps / 2, steps, start)
    x_adv = maximisation.run(lambda z: (weights * z).sum(), x)
    delta = (x_adv - x).flatten(1)
    size = delta.abs().amax(1) if norm == "Linf" else delta.norm(dim=1)
    assert (size <= eps + 1e-5).all()
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert not x_adv.requires_grad


def test_linf_finds_the_maximum_of_a_linear_objective():
    x = torch.full((2, 1, 2, 2), 0.5)
    weights = torch.randn_like(x)
    x_adv = InnerMaximisation(norms["Linf"], 0.1, 0.05, 10, "none").run(lambda z: (weights * z).sum(), x)
    assert torch.allclose(x_adv, x + 0.1 * weights.sign())  # the best corner of the cube


def test_l2_finds_the_maximum_of_a_linear_objective():
    x = torch.full((2, 1, 2, 2), 0.5)
    weights = torch.randn_like(x)
    x_adv = InnerMaximisation(norms["L2"], 0.1, 0.05, 20, "none").run(lambda z: (weights * z).sum(), x)
    unit = weights / weights.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(x_adv, x + 0.1 * unit, atol=1e-5)


def test_uniform_start_fills_the_ball():
    x = torch.full((2000, 1, 1, 2), 0.5)
    torch.manual_seed(0)
    start = InnerMaximisation(norms["L2"], 0.2, 0.1, 1, "uniform").initial(x)
    radius = (start - x).flatten(1).norm(dim=1) / 0.2
    # Uniform in a disc: the square of the radius is uniform in [0, 1].
    assert abs(float((radius**2).mean()) - 0.5) < 0.03
    assert float(radius.max()) <= 1


def test_step_and_eps_exchanged():
    with pytest.raises(UsageError, match=r"distill\.inner\.step: 0\.0313725 is larger than threat\.eps 0\.00784314"):
        InnerMaximisation.of(InnerConfig(step="8/255"), ThreatModel(eps="2/255"), where="distill.inner")


def test_an_objective_that_is_not_a_number_is_noticed():
    x = torch.rand(1, 1, 2, 2)
    with pytest.raises(StageError, match="left the threat model"):
        InnerMaximisation(norms["L2"], 0.1, 0.05, 2).run(lambda z: (z * float("nan")).sum(), x)


@pytest.mark.parametrize("steps", [0, -1])
def test_at_least_one_step(steps: int):
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        InnerConfig(steps=steps)
