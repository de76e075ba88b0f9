"""Whether the gradients that the white box follows lead anywhere."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..margin import margin
from ..threat import ThreatModel
from .combined import RESCALED, Scaled
from .guarded import SamplesFailed
from .route import Batch, Context
from .shard_result import ShardResult
from .subject import Surface

# Of a shard's samples, for the checks that attack once more.
SHARE = 15
# Inner logits may be hidden behind a table of stored answers, which the graph's own gradient then sees beyond.
HUGE_EPS_GRADIENTS = 2
FEW_STEPS = 10
# Where the largest logit leads by more, the softmax rounds to one in float32 and its loss to zero.
SATURATED = 15.0
LEAD = 3.0


def with_rescaled(surface: Surface, clean: np.ndarray, correct: np.ndarray) -> Surface:
    """Add the first gradient with logits made smaller, where they saturate the cross-entropy.

    Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017 (arXiv 1608.04644),
    on defensive distillation: gradients that vanish for the size of the logits alone come back when they are divided.

    Args:
        surface: what is attacked.
        clean: `[N, K]` its logits of the clean images.
        correct: `[N]` which of them are right.
    """
    if not correct.any() or not surface.differentiable:
        return surface
    two = np.sort(np.nan_to_num(clean[correct]), axis=1)[:, -2:]
    lead = float(np.median(two[:, 1] - two[:, 0]))
    if lead <= SATURATED:
        return surface
    first = next(iter(surface.differentiable.values()))
    return replace(surface, differentiable={**surface.differentiable, RESCALED: Scaled(first, LEAD / lead)})


def check_gradients(result: ShardResult, batch: Batch, context: Context) -> None:
    """Count the samples near which no gradient has anything but zeros, or something that is no number."""
    chosen = batch.where(result.clean_correct)
    if not len(chosen) or not context.surface.differentiable:
        return
    random = np.random.default_rng(context.config.seed)
    eps = context.threat.eps
    if context.threat.norm == "L2":
        eps /= float(chosen.images[0].numel()) ** 0.5
    signs = torch.from_numpy(random.choice([-1.0, 1.0], chosen.images.shape).astype(np.float32))
    near = (chosen.images + 0.5 * eps * signs).clamp(0, 1)
    blind = np.ones(len(chosen), bool)
    with suppress(SamplesFailed):
        for model in context.surface.differentiable.values():
            blind &= ~_has_slope(model, near, chosen.labels)
        result.counts.gradients_asked += len(chosen)
        result.counts.gradients_gone += int(blind.sum())


def check_huge_eps(result: ShardResult, batch: Batch, context: Context) -> None:
    """Attack with an eps at which nothing can be robust; what survives hides from the gradients."""
    few = _few(batch, result.clean_correct)
    if not len(few) or not context.surface.differentiable:
        return
    pixels = batch.images[0].numel()
    huge = 1.0 if context.threat.norm == "Linf" else float(pixels) ** 0.5
    wide = replace(context, threat=ThreatModel(norm=context.threat.norm, eps=huge))
    broken = np.zeros(len(few), bool)
    for gradients in list(context.surface.differentiable)[:HUGE_EPS_GRADIENTS]:
        if not broken.all():
            broken[~broken] = _falls(few.where(~broken), wide, gradients)
    result.counts.huge_eps_attacked = len(few)
    result.counts.huge_eps_survived = int((~broken).sum())


def check_monotone(result: ShardResult, batch: Batch, context: Context) -> None:
    """Attack a few samples in fewer steps, and in a wider ball: the first may not break more, nor the second less.

    Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019 (arXiv 1902.06705), section 5.
    """
    few = _few(batch, result.clean_correct)
    if not len(few) or not context.surface.differentiable:
        return
    first = next(iter(context.surface.differentiable))
    size = 2 * context.threat.eps if context.threat.norm == "L2" else min(1.0, 2 * context.threat.eps)
    wider = replace(context, threat=ThreatModel(norm=context.threat.norm, eps=size))
    whole = _falls(few, context, first)
    quick = _falls(few, context, first, steps=FEW_STEPS)
    result.counts.monotone_asked = len(few)
    result.counts.fewer_steps_better = int((quick & ~whole).sum())
    if whole.any():
        result.counts.wider_ball_worse = int((~_falls(few.where(whole), wider, first)).sum())


def _few(batch: Batch, correct: np.ndarray) -> Batch:
    """The first of the correct samples: their share of the shard, rounded up."""
    return batch.where(correct & (np.cumsum(correct) <= -(-len(batch) // SHARE)))


def _falls(batch: Batch, context: Context, gradients: str, *, steps: int | None = None) -> np.ndarray:
    with suppress(SamplesFailed), context.surface.watching(batch.images.numpy(), context.threat):
        return context.attack("apgd-ce", gradients, batch, steps=steps).broken
    return np.ones(len(batch), bool)  # in so wide a ball a failure is anybody's


def _has_slope(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    """Whether the gradient of the margin is finite and not zero, `[N]`."""
    x = images.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(margin(model(x), labels).sum(), x)
    sizes = slope.flatten(1).abs().amax(1)
    return (torch.isfinite(sizes) & (sizes > 0)).numpy()
