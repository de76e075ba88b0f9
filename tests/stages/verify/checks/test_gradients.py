"""Gradients that lead nowhere: planted in toy models, found by the checks; and those that help."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgeproof.stages.bpda import BPDA
from edgeproof.stages.data import Split
from edgeproof.stages.norms.base import norms
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify.attacks.autoattack import run_attack
from edgeproof.stages.verify.attacks.batched_radii import apgd_in_balls
from edgeproof.stages.verify.checks.huge_eps import HugeEps
from edgeproof.stages.verify.checks.monotonicity import Monotonicity, MonotonicityCounts
from edgeproof.stages.verify.checks.vanishing_gradients import GradientCounts, VanishingGradients
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.subject.rescaled import with_rescaled
from edgeproof.stages.verify.subject.subject import OpenedSubject, in_batches
from edgeproof.stages.verify.subject.wrappers import Blend, Scaled
from torch import Tensor, nn

from tests.stages.verify.checks.one_shard import ask, doubts

EPS, COUNT, SHAPE = 0.1, 60, (1, 2, 2)


class Margins(nn.Module):
    """Four classes; the first one's lead over the second is a function of the image, `[N]`."""

    def __init__(self, lead: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lead = lead

    def forward(self, x: Tensor) -> Tensor:
        lead = self.lead(x)
        rest = torch.full_like(lead, -1e3)
        return torch.stack([lead, torch.zeros_like(lead), rest, rest], 1)


def straight(x: Tensor) -> Tensor:
    return 0.05 - (x - 0.5).flatten(1).mean(1)


def away(x: Tensor) -> Tensor:
    return 1 - (x - 0.5).flatten(1).abs().amax(1) * 10


def ripple(x: Tensor) -> Tensor:
    """1 at the image, -1 on the rim of the ball, 1 on that of the wider one."""
    return torch.cos(torch.pi * (x - 0.5).flatten(1).abs().amax(1) / EPS)


def checked(check, model: nn.Module) -> Counts:
    images = np.full((COUNT, *SHAPE), 0.5, np.float32)
    split = Split(images, np.zeros(COUNT, np.int64), np.arange(COUNT))
    result = ShardResult(split, np.ones(COUNT, bool), {}, Candidates.none(SHAPE), Counts())
    opened = OpenedSubject(in_batches(model), {"own": model}, 4)
    return ask(check, result, opened, ThreatModel(norm="Linf", eps=EPS))


@pytest.mark.parametrize("check", [VanishingGradients, HugeEps, Monotonicity])
def test_nothing_is_held_against_an_honest_gradient(check):
    assert not doubts(checked(check, Margins(straight)))


def test_a_rounding_without_gradient_is_seen():
    counts = checked(VanishingGradients, Margins(lambda x: straight((x * 4).round() / 4)))
    assert counts[GradientCounts] == GradientCounts(gradients_asked=COUNT, gradients_gone=COUNT)
    assert doubts(counts) == ["vanishing-gradients"]


def test_a_gradient_that_is_no_number_is_none():
    counts = checked(VanishingGradients, Margins(lambda x: straight(x) + (x * 0).flatten(1).sum(1).sqrt()))
    assert counts[GradientCounts].gradients_gone == COUNT


def test_a_gradient_that_leads_past_what_it_looks_for_is_seen():
    """The lead's slope is another function's: at the ball's rim that is luck, in the wider ball it is none."""
    model = BPDA(Margins(ripple), Margins(away))
    counts = checked(Monotonicity, model)
    assert counts[MonotonicityCounts].wider_ball_worse == counts[MonotonicityCounts].monotone_asked == 4
    assert doubts(counts) == ["not-monotone"]
    luck = MonotonicityCounts(monotone_asked=100, fewer_steps_better=10)
    assert not doubts(Counts(luck)), "ten of a hundred may be restarts' luck"
    assert doubts(Counts(MonotonicityCounts(monotone_asked=100, fewer_steps_better=11))) == ["not-monotone"]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_ball_among_others_is_attacked_as_if_alone(norm):
    model = Margins(lambda x: 0.3 - (x - 0.5).flatten(1).square().sum(1))
    x = 0.4 + 0.2 * torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(3, dtype=torch.long)
    ends = apgd_in_balls(model, x, y, norms[norm], (0.1, 0.2, 2.0), seed=0)
    (alone,) = apgd_in_balls(model, x, y, norms[norm], (0.1,), seed=0)
    threat = ThreatModel(norm=norm, eps=0.1)
    reference = run_attack("apgd-ce", model, x, y, np.arange(3), threat, classes=4, seed=0).candidates
    assert sorted(reference.index) == [0, 1, 2]
    assert torch.equal(alone[reference.index], torch.from_numpy(reference.images))
    for radius, images in zip((0.1, 0.2, 2.0), ends, strict=True):
        assert (norms[norm].size(images - x) <= radius + 1e-5).all()
        assert images.min() >= 0
        assert images.max() <= 1
    # Another random start, the same maximum of a convex loss.
    assert torch.allclose(model(ends[0])[:, 0], model(alone)[:, 0], atol=1e-3)


def test_saturated_logits_are_divided_until_the_cross_entropy_has_a_gradient():
    model = Scaled(Margins(straight), 1e4)
    images = torch.full((3, *SHAPE), 0.5)
    opened = OpenedSubject(in_batches(model), {"own": model}, 4)
    found = with_rescaled(opened, opened.predict(images.numpy()), np.ones(3, bool))
    assert list(found.gradient_sources) == ["own", "rescaled"]

    def slope(module: nn.Module) -> float:
        x = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(module(x), torch.zeros(3, dtype=torch.long))
        return float(torch.autograd.grad(loss, x)[0].abs().max())

    assert slope(found.gradient_sources["own"]) == 0
    assert slope(found.gradient_sources["rescaled"]) > 1e-3
    mild = OpenedSubject(in_batches(Margins(straight)), {"own": Margins(straight)}, 4)
    assert with_rescaled(mild, mild.predict(images.numpy()), np.ones(3, bool)) is mild


def test_a_blend_is_the_weighted_sum_with_its_gradient():
    one, other = nn.Linear(4, 3), nn.Linear(4, 3)
    x = torch.randn(5, 4, requires_grad=True)
    found = Blend([one, other], [2.0, -1.0])(x)
    assert torch.allclose(found, 2 * one(x) - other(x))
    (slope,) = torch.autograd.grad(found[:, 0].sum(), x)
    assert torch.allclose(slope, (2 * one.weight[0] - other.weight[0]).expand(5, 4), atol=1e-6)
