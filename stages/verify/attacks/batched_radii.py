"""APGD at several radii in one batch: a few samples cost as much as one does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pyautoattack.autopgd_base import APGDAttack
from torch import Tensor, nn

from ...norms.base import Norm
from .other_norms import apgd_single_run

# What pyautoattack calls the norms in which it takes a radius a sample.
_BY_SAMPLE = {"Linf", "L2"}


def apgd_in_balls(model: nn.Module, x: Tensor, y: Tensor, norm: Norm, radii: Sequence[float], *, seed: int) -> Tensor:
    """Run APGD-CE of AutoAttack standard around the same images in several balls.

    Args:
        model: images in [0, 1] to logits, differentiable.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.
        norm: of the balls.
        radii: R of them.
        seed: seeds the random starts.

    Returns:
        `[R, N, C, H, W]`: of each ball and image the last misclassified one, else the one of the highest loss.
    """
    if norm.autoattack not in _BY_SAMPLE and len(radii) > 1:
        return torch.cat([apgd_in_balls(model, x, y, norm, [radius], seed=seed) for radius in radii])
    clean, labels = x.repeat(len(radii), 1, 1, 1), y.repeat(len(radii))
    # Its steps and projections are products with eps, which may be one number a sample.
    if norm.autoattack in _BY_SAMPLE:
        eps: Any = torch.tensor(radii, dtype=x.dtype, device=x.device).repeat_interleave(len(x)).view(-1, 1, 1, 1)
    else:
        (eps,) = radii
    attack: Any = APGDAttack(model, norm=norm.autoattack or "Linf", eps=eps, loss="ce", device=x.device)
    attack.init_hyperparam(clean)
    if norm.autoattack is None:
        attack.attack_single_run = partial(apgd_single_run, attack, norm=norm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        best_loss, accurate, _, fooling = attack.attack_single_run(clean, labels)
    ends = torch.where(accurate.bool().view(-1, 1, 1, 1), best_loss, fooling)
    return ends.detach().view(len(radii), *x.shape)
