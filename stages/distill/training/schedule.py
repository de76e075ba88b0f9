"""Learning-rate schedules, stepped once an optimiser step."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from .config import TrainConfig


def make_schedule(optimiser: torch.optim.Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    """Return the configured schedule over all `steps` of the training."""
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimiser, steps)
    if config.schedule == "onecycle":
        # A quarter of four steps ends where it begins, by which torch divides.
        rise = 0.3 if steps == 3 else 0.25
        return OneCycleLR(optimiser, config.learning_rate, total_steps=steps + 1, pct_start=rise, cycle_momentum=False)
    milestones = [round(fraction * steps) for fraction in config.milestones]
    return MultiStepLR(optimiser, milestones if config.schedule == "multistep" else [])
