"""Calibration sample: the images that activation ranges are found on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import UsageError
from ...core.reading.counted import counted
from ..data import Dataset, Split
from ..distill.training.selection import pgd_attack
from ..threat import ThreatModel
from .calibration_config import CalibrationConfig

# Ranges of fewer images depend on which; of a class with fewer than a third of its share, hardly anything is seen.
FEW = 64
_SHARE = 1 / 3
_BATCH = 128


@dataclass(frozen=True)
class CalibrationSample:
    """Images of the training split, the adversarial ones among them changed.

    Attributes:
        split: the images, with their rows and labels.
        adversarial: how many of them, the last ones, were attacked.
    """

    split: Split
    adversarial: int

    def record(self, config: CalibrationConfig, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Return what the report says of it."""
        counts = np.bincount(self.split.labels, minlength=len(class_names))
        return {
            "split": "train",
            "samples": len(self.split),
            "adversarial": self.adversarial,
            "seed": config.seed,
            "index": self.split.index.tolist(),
            "images_per_class": dict(zip(class_names, counts.tolist(), strict=True)),
            "sha256": hashlib.sha256(self.split.images.tobytes()).hexdigest(),
            "warnings": warnings_of(counts),
        }


def warnings_of(counts: np.ndarray) -> list[str]:
    """Say what is wrong with a sample of so many images per class."""
    total, share = int(counts.sum()), counts.sum() / len(counts)
    found = []
    if total < FEW:
        found.append(f"calibration: only {counted(total, 'image')}; ranges of fewer than {FEW} depend on which")
    lacking = int((counts < _SHARE * share).sum())
    if lacking:
        found.append(
            f"calibration: lopsided: {lacking} of {len(counts)} classes have less than a third of an even share"
        )
    return found


def calibration_split(train: Split, config: CalibrationConfig) -> Split:
    """Draw the seeded sample, without replacement, from the training split; its order is the draw's."""
    count = min(config.samples, len(train))
    return train.take(np.random.default_rng(config.seed).choice(len(train), count, replace=False))


def calibration_sample(
    dataset: Dataset, config: CalibrationConfig, threat: ThreatModel, model: nn.Module | None
) -> CalibrationSample:
    """Draw the sample, and attack what of it is to be adversarial.

    Args:
        dataset: its training split is drawn from.
        config: which images.
        threat: the ball.
        model: what is attacked, pixels in and logits out; not needed for clean images.

    Raises:
        UsageError: a drawn image is not finite, or lies outside [0, 1].
    """
    split = calibration_split(dataset.train, config)
    if not np.isfinite(split.images).all() or split.images.min() < 0 or split.images.max() > 1:
        raise UsageError("quantize.calibration: images must be finite and in [0, 1]")
    first = {"clean": len(split), "adversarial": 0, "mix": len(split) // 2}[config.images]
    if first == len(split):
        return CalibrationSample(split, 0)
    assert model is not None, "adversarial images need a model"
    images = split.images.copy()
    for begin in range(first, len(split), _BATCH):
        rows = slice(begin, begin + _BATCH)
        x, y = torch.from_numpy(images[rows]), torch.from_numpy(split.labels[rows])
        images[rows] = pgd_attack(model, x, y, threat, steps=config.steps, seed=config.seed + begin).numpy()
    return CalibrationSample(Split(images, split.labels, split.index), len(split) - first)
