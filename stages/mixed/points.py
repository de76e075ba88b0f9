"""Validation adversarial examples that layers and assignments are compared on; never of the test split.
split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..data import Split
from ..distill.training.selection import pgd_attack, pgd_survivors
from ..quantize.search_config import SearchConfig
from ..threat import ThreatModel

_BATCH = 256


@dataclass(frozen=True)
class Points:
    """Validation images and adversarial examples of the float model for them.

    Attributes:
        split: the clean images.
        adversarial: `[N, C, H, W]`, found by PGD on the float model.
    """

    split: Split
    adversarial: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """`[N]` labels."""
        return self.split.labels


def find_points(model: nn.Module, validation: Split, threat: ThreatModel, config: SearchConfig) -> Points:
    """Attack the float model on a seeded draw of the validation split."""
    count = min(config.samples, len(validation))
    rows = np.sort(np.random.default_rng(config.seed).choice(len(validation), count, replace=False))
    split = validation.take(rows)
    return Points(split, attack(model, split, threat, config))


def attack(model: nn.Module, split: Split, threat: ThreatModel, config: SearchConfig) -> np.ndarray:
    """Return PGD's end points `[N, C, H, W]`."""
    parts = []
    for first in range(0, len(split), _BATCH):
        part = split.take(slice(first, first + _BATCH))
        x, y = torch.from_numpy(part.images), torch.from_numpy(part.labels)
        parts.append(pgd_attack(model, x, y, threat, steps=config.steps, seed=config.seed + first).numpy())
    return np.concatenate(parts)


def survivors(
    model: nn.Module, split: Split, threat: ThreatModel, config: SearchConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return which images a model classifies correctly, clean and wherever PGD goes, as booleans `[N]`."""
    found = []
    for first in range(0, len(split), _BATCH):
        part = split.take(slice(first, first + _BATCH))
        x, y = torch.from_numpy(part.images), torch.from_numpy(part.labels)
        masks = pgd_survivors(model, x, y, threat, steps=config.steps, seed=config.seed + first, every_point=True)
        found.append(torch.stack(masks).numpy())
    clean, robust = np.concatenate(found, axis=1)
    return clean, robust
