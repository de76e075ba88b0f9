"""Square in the L2 ball: pyautoattack's own where that one runs, and an attack where it raises."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attacks.autoattack import run_attack
from edgeproof.stages.verify.attacks.square_l2 import square_l2_single_run
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.routes import base as route
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


def test_an_attack_that_raises_is_a_stage_that_failed(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("The size of tensor a (2) must match\nand more")

    monkeypatch.setattr(route, "run_attack", broken)
    split, threat = draw_split(4), ThreatModel(norm="L2", eps=0.5)
    context = route.Context(LinearSubject().open(), threat, VerifyConfig(), Candidates.none(SHAPE))
    batch = route.Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
    with pytest.raises(StageError, match=r"square: the attack itself raised RuntimeError: The size .* match$"):
        context.attack("square", None, batch)
