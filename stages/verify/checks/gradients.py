"""Whether the gradients that the white box follows lead anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ...margin import margin
from ...threat import ThreatModel
from ..attacks.batched_radii import apgd_in_balls
from ..evidence.candidates import Candidates
from ..evidence.shard_result import ShardResult
from ..routes.base import Batch, Context
from ..subject.guarded import SamplesFailed
from ..subject.subject import OpenedSubject
from ..subject.wrappers import RESCALED, Scaled

# Of a shard's samples, for the checks that attack once more.
SHARE = 15
# Inner logits may be hidden behind a table of stored answers, which the graph's own gradient then sees beyond.
HUGE_EPS_GRADIENTS = 2
FEW_STEPS = 10
# Where the largest logit leads by more, the softmax rounds to one in float32 and its loss to zero.
SATURATED = 15.0
LEAD = 3.0


def with_rescaled(surface: OpenedSubject, clean: np.ndarray, correct: np.ndarray) -> OpenedSubject:
    """Add the first gradient with logits made smaller, where they saturate the cross-entropy.

    Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017 (arXiv 1608.04644),
    on defensive distillation: gradients that vanish for the size of the logits alone come back when they are divided.

    Args:
        surface: what is attacked.
        clean: `[N, K]` its logits of the clean images.
        correct: `[N]` which of them are right.
    """
    if not correct.any() or not surface.gradient_sources:
        return surface
    two = np.sort(np.nan_to_num(clean[correct]), axis=1)[:, -2:]
    lead = float(np.median(two[:, 1] - two[:, 0]))
    if lead <= SATURATED:
        return surface
    first = next(iter(surface.gradient_sources.values()))
    return replace(surface, gradient_sources={**surface.gradient_sources, RESCALED: Scaled(first, LEAD / lead)})


def check_gradients(result: ShardResult, batch: Batch, context: Context) -> None:
    """Count the samples near which no gradient has anything but zeros, or something that is no number."""
    chosen = batch.where(result.clean_correct)
    if not len(chosen) or not context.surface.gradient_sources:
        return
    random = np.random.default_rng(context.config.seed)
    eps = context.threat.eps
    if context.threat.norm == "L2":
        eps /= float(chosen.images[0].numel()) ** 0.5
    signs = torch.from_numpy(random.choice([-1.0, 1.0], chosen.images.shape).astype(np.float32))
    near = (chosen.images + 0.5 * eps * signs).clamp(0, 1)
    blind = np.ones(len(chosen), bool)
    with suppress(SamplesFailed):
        for model in context.surface.gradient_sources.values():
            blind &= ~_has_slope(model, near, chosen.labels)
        result.counts.gradients_asked += len(chosen)
        result.counts.gradients_gone += int(blind.sum())


def check_balls(result: ShardResult, batch: Batch, context: Context) -> None:
    """Attack a few samples in a wider ball, in a huge one, and in fewer steps.

    At a huge eps nothing can be robust: what survives hides from the gradients. A wider ball may not break less, nor
    fewer steps more.

    Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019 (arXiv 1902.06705), section 5.
    """
    few = _few(batch, result.clean_correct)
    if not len(few) or not context.surface.gradient_sources:
        return
    norm, eps = context.threat.norm, context.threat.eps
    huge = 1.0 if norm == "Linf" else float(batch.images[0].numel()) ** 0.5
    wide = 2 * eps if norm == "L2" else min(1.0, 2 * eps)
    first, *others = list(context.surface.gradient_sources)[:HUGE_EPS_GRADIENTS]
    whole, wider, anywhere = _fall(few, context, first, (eps, wide, huge))
    for gradients in others:
        if not anywhere.all():
            (anywhere[~anywhere],) = _fall(few.where(~anywhere), context, gradients, (huge,))
    quick = _fall_quickly(few, context, first)
    counts = result.counts
    counts.huge_eps_attacked, counts.huge_eps_survived = len(few), int((~anywhere).sum())
    counts.monotone_asked = len(few)
    counts.fewer_steps_better = int((quick & ~whole).sum())
    counts.wider_ball_worse = int((whole & ~wider).sum())


def _few(batch: Batch, correct: np.ndarray) -> Batch:
    """The first of the correct samples: their share of the shard, rounded up."""
    return batch.where(correct & (np.cumsum(correct) <= -(-len(batch) // SHARE)))


def _fall(batch: Batch, context: Context, gradients: str, radii: Sequence[float]) -> list[np.ndarray]:
    """Which samples fall in balls of several sizes: `[N]` booleans for each."""
    balls = [ThreatModel(norm=context.threat.norm, eps=radius) for radius in radii]
    with suppress(SamplesFailed), context.surface.watching(batch.images.numpy(), balls[-1]):
        model = context.surface.gradient_sources[gradients]
        ends = apgd_in_balls(model, batch.images, batch.labels, context.threat.norm, radii, seed=context.config.seed)
        names = np.full(len(batch), "apgd-ce")
        return [
            replace(context, threat=ball).judge(Candidates(batch.index, names, images.numpy()), batch)
            for ball, images in zip(balls, ends, strict=True)
        ]
    return [np.ones(len(batch), bool) for _ in balls]  # in so wide a ball a failure is anybody's


def _fall_quickly(batch: Batch, context: Context, gradients: str) -> np.ndarray:
    with suppress(SamplesFailed), context.surface.watching(batch.images.numpy(), context.threat):
        return context.attack("apgd-ce", gradients, batch, steps=FEW_STEPS).broken
    return np.ones(len(batch), bool)


def _has_slope(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    """Whether the gradient of the margin is finite and not zero, `[N]`."""
    x = images.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(margin(model(x), labels).sum(), x)
    sizes = slope.flatten(1).abs().amax(1)
    return (torch.isfinite(sizes) & (sizes > 0)).numpy()
