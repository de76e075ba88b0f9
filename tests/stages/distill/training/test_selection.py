"""The PGD by which epochs are compared."""

from __future__ import annotations

import numpy as np
import torch
from edgeproof.stages.data import Split
from edgeproof.stages.distill.training.selection import pgd_accuracy
from edgeproof.stages.threat import ThreatModel
from torch import Tensor, nn

THREAT = ThreatModel.model_validate({"norm": "Linf", "eps": 0.2})


class Staircase(nn.Module):
    """Wrong on a step that PGD walks over and leaves again, as coarse quantizers make them; its slope only rises."""

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1).mean(1)
        wrong = (value > 0.55) & (value < 0.62)
        slope = value - value.detach()
        return torch.stack([1 - slope, torch.where(wrong, 2.0, 0.0) + slope], dim=1)


def test_a_step_that_is_walked_over_counts_if_every_point_does():
    images = np.full((20, 1, 1, 1), 0.5, np.float32)
    split = Split(images, np.zeros(20, np.int64), np.arange(20))
    assert pgd_accuracy(Staircase(), split, THREAT, steps=20, seed=0) == (1.0, 1.0)
    clean, robust = pgd_accuracy(Staircase(), split, THREAT, steps=20, seed=0, every_point=True)
    assert clean == 1.0
    assert robust <= 0.5  # the others' random start lies beyond the step already
