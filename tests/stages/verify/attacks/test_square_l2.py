"""Square in the L2 ball: pyautoattack's own where that one runs, and an attack where it raises."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attacks.autoattack import AttackRun, run_attack
from edgeproof.stages.verify.attacks.square_l2 import square_l2_single_run
from edgeproof.stages.verify.checks.base import find
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.routes import base as route
from edgeproof.stages.verify.shards.shard import attack_shard
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from tests.stages.verify.linear_subject import SHAPE, LinearSubject, draw_split


def linear(shape: tuple[int, int, int]) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 5)).double()
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2

    class Single(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return model(images.double()).float()

    single = Single()
    return single, x, single(x).argmax(1)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 10, 10), (1, 28, 28), (3, 32, 32), (1, 20, 28)])
@pytest.mark.parametrize("eps", [0.1, 0.5])
def test_it_ends_where_pyautoattack_ends(shape: tuple[int, int, int], eps: float):
    model, x, y = linear(shape)

    def attacked(*, ours: bool) -> Tensor:
        attack = SquareAttack(model, n_queries=200, eps=eps, norm="L2", seed=3, device=x.device, resc_schedule=False)
        if ours:
            attack.attack_single_run = partial(square_l2_single_run, attack)
        return attack.perturb(x, y)

    theirs = attacked(ours=False)
    assert torch.equal(attacked(ours=True), theirs)
    if eps == 0.5 and shape[0] == 1:
        assert (model(theirs).argmax(1) != y).any()


@pytest.mark.parametrize("size", [(24, 24), (12, 12), (14, 14), (18, 18), (64, 48), (24, 94), (4, 4), (2, 2), (1, 1)])
def test_it_attacks_images_of_every_size(size: tuple[int, int]):
    model, x, y = linear((1, *size))
    threat = ThreatModel(norm="L2", eps=3)
    run = run_attack("square", model, x, y, np.arange(len(x)), threat, classes=5, seed=0, queries=100)
    assert (run.x_adv - x).flatten(1).norm(dim=1).max() <= 3 + 1e-5
    if len(x[0].flatten()) > 4:
        assert (model(run.x_adv).argmax(1) != y).any()


def test_an_attack_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    """Whether edgeproof runs it or a route of a third party does; the others attack, and the verdict stays open."""

    def broken(name: str, *given: Any, **more: Any) -> AttackRun:
        if name == "square":
            raise RuntimeError("The size of tensor a (2) must match\nand more")
        return run_attack(name, *given, **more)

    class Torn(route.Route):
        def run(self, batch: route.Batch, context: route.Context) -> route.Outcome:
            raise KeyError("frames")

    monkeypatch.setattr(route, "run_attack", broken)
    monkeypatch.setitem(route.routes._entries, "torn", Torn())
    config = VerifyConfig(square_queries=10)
    result = attack_shard(
        LinearSubject(),
        draw_split(20),
        ThreatModel(norm="L2", eps=0.05),
        config,
        ["torn", "whitebox", "square"],
        Candidates.none(SHAPE),
    )
    assert list(result.bits)[:3] == ["torn", "whitebox", "square"]
    assert result.bits["torn"].sum() > result.bits["whitebox"].sum()
    found = {str(each): each.inconclusive for each in find(result.counts, result.warnings)}
    end = "; what it would have found is not known"
    assert found[f"attack-failed: square: raised RuntimeError: The size of tensor a (2) must match{end}"]
    assert found[f"attack-failed: torn: raised KeyError: 'frames'{end}"]
