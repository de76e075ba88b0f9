"""Norms: what every one must hold to, and that a third is one file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from edgeproof.stages.norms.base import Norm, norms
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError

from tests.stages.norms.toy import tilted

ALL: dict[str, Norm] = {**{name: norms[name] for name in norms.names()}, "Tilted": tilted}
SHAPE = (2, 5, 4)


@pytest.fixture(params=sorted(ALL))
def norm(request: pytest.FixtureRequest) -> Norm:
    return ALL[request.param]


@pytest.fixture
def draws() -> torch.Tensor:
    return torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_sizes_are_those_of_a_norm(norm: Norm, draws: torch.Tensor):
    one, other = draws[:10], draws[10:]
    assert torch.allclose(norm.size(-2 * one), 2 * norm.size(one))
    assert (norm.size(one + other) <= norm.size(one) + norm.size(other) + 1e-5).all()
    assert (norm.size(0.5 * one.abs()) <= norm.size(one)).all(), "smaller at every pixel, so not larger"


def test_what_is_clipped_is_in_the_ball_and_what_was_in_it_stays(norm: Norm, draws: torch.Tensor):
    eps = float(norm.size(draws).median())
    clipped = norm.clip(draws, eps)
    assert (norm.size(clipped) <= eps + 1e-5).all()
    inside = norm.size(draws) < eps
    assert inside.any()
    assert not inside.all()
    assert torch.allclose(clipped[inside], draws[inside])


def test_no_direction_of_size_one_ascends_more(norm: Norm, draws: torch.Tensor):
    gradient, others = draws[:1], draws[1:] / norm.size(draws[1:]).view(-1, 1, 1, 1)
    best = norm.direction(gradient)
    assert float(norm.size(best)) == pytest.approx(1, abs=1e-5)
    near = best + 0.1 * others
    near = near / norm.size(near).view(-1, 1, 1, 1)
    for direction in (others, near):
        assert ((gradient * direction).flatten(1).sum(1) <= (gradient * best).sum() + 1e-4).all()


def test_starts_lie_in_the_ball_and_the_box(norm: Norm):
    x = torch.rand(50, *SHAPE, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    starts = norm.start(x, 0.3)
    assert 0 <= starts.min() <= starts.max() <= 1
    sizes = norm.size(starts - x)
    assert sizes.max() <= 0.3 + 1e-6
    assert sizes.max() > 0.15, "not all at the centre"
    assert len(starts.unique(dim=0)) == 50


def test_a_huge_ball_holds_all_images_and_signs_reach_its_rim(norm: Norm):
    black, white = torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)
    assert norm.size(white - black) <= norm.huge(SHAPE) + 1e-6
    assert norm.huge(SHAPE) <= norm.widest
    signs = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(2)).sign()
    assert float(norm.size(norm.along_signs(0.2, SHAPE) * signs)) == pytest.approx(0.2, abs=1e-6)


def test_proposals_of_a_search_stay_in_the_ball_and_change_chosen_pixels(norm: Norm, draws: torch.Tensor):
    random = np.random.default_rng(0)
    delta = 0.5 * norm.clip(draws, 0.2).numpy()
    chosen = random.random((len(delta), 1, *SHAPE[1:])) < 0.2
    moved = norm.proposal(delta, chosen, random.choice([-1.0, 1.0], (len(delta), SHAPE[0], 1, 1)), 0.2, 1.0)
    assert moved.dtype == np.float32
    assert (norm.size(torch.from_numpy(moved)) <= 0.2 + 1e-6).all()
    chosen = np.broadcast_to(chosen, delta.shape)
    assert (moved != delta)[chosen].mean() > 0.9


def test_a_threat_model_knows_its_norm(toy_norm: str):
    threat = ThreatModel.model_validate({"norm": toy_norm, "eps": "8/255"})
    assert threat.geometry is tilted
    assert threat.model_dump() == {"norm": "Tilted", "eps": 8 / 255}
    assert threat.of_radius(2.0) == ThreatModel(norm=toy_norm, eps=2.0)
    assert ThreatModel.model_json_schema()["properties"]["norm"]["examples"] == ["L2", "Linf", "Tilted"]


def test_an_unknown_norm_lists_the_known_ones():
    with pytest.raises(ValidationError, match=r"unknown norm 'Linff'; did you mean 'Linf'\? \(known: L2, Linf\)"):
        ThreatModel(norm="Linff", eps=0.1)


def test_threat_models_are_read_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgeproof.stages.threat import ThreatModel\n"
        "threat = ThreatModel(norm='L2', eps=2)\n"
        "print(threat.geometry.huge((1, 4, 4)), threat.geometry.widest)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4.0", "inf"]
