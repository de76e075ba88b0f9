"""The lean Square Attack against pyautoattack's own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from edgeproof.stages.verify.attacks.fast_square import square_single_run
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

QUERIES = 1500


class Counting:
    """A small network whose answers do not depend on the batch to the last bit, and how many images it saw."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        channels, height, width = shape
        torch.manual_seed(0)
        self._net = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (height - 2) * (width - 2), classes)
        ).double()
        self.seen = 0

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self._net(images.double()).float()


def attacked(model: Counting, x: Tensor, y: Tensor, eps: float, *, lean: bool) -> tuple[Tensor, int]:
    attack = SquareAttack(
        model, p_init=0.8, n_queries=QUERIES, eps=eps, norm="Linf", seed=3, device=x.device, resc_schedule=False
    )
    if lean:
        attack.attack_single_run = partial(square_single_run, attack)
    before = model.seen
    return attack.perturb(x, y), model.seen - before


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 12), (3, 9, 7)])
@pytest.mark.parametrize("eps", [0.02, 0.06])
def test_it_ends_where_pyautoattack_ends_and_asks_less(shape: tuple[int, int, int], eps: float):
    model = Counting(shape, 5)
    x = torch.rand(24, *shape, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    y = model(x).argmax(1)
    theirs, asked = attacked(model, x, y, eps, lean=False)
    ours, lean = attacked(model, x, y, eps, lean=True)
    assert torch.equal(ours, theirs)
    assert lean < asked
    assert (model(theirs).argmax(1) != y).any()


def test_an_answer_that_is_no_number_is_an_error():
    model = Counting((1, 8, 8), 5)
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)

    def breaking(images: Tensor) -> Tensor:
        logits = model(images)
        logits[(images - x[0]).abs().amax((1, 2, 3)) < 0.3] = torch.nan
        return logits

    attack = SquareAttack(breaking, p_init=0.8, n_queries=5, eps=0.01, norm="Linf", seed=0, device=x.device)
    _, ends = square_single_run(attack, x, y)
    assert np.isnan(breaking(ends[:1]).numpy()).all()
    assert not torch.equal(ends[0], x[0])
