"""Data loader: global batches, the same ones on any number of processes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...data import Dataset

# Data up to this size live on the device; larger ones are sent batch by batch.
RESIDENT_BYTES = 4 * 2**30


class Batches:
    """An epoch's batches: every training image once, in a drawn order; generated images mixed in at their fraction.

    With generated images the number of steps stays that of the original ones, as in Rebuffi et al. 2021, "Fixing Data
    Augmentation to Improve Adversarial Robustness" (arXiv 2103.01946): an epoch then sees only a part of these.

    Args:
        dataset: its train split, and its generated images if there are any.
        batch_size: images in a global batch.
        device: where the batches are handed out.
    """

    def __init__(self, dataset: Dataset, batch_size: int, device: torch.device) -> None:
        self._device = device
        resident = device if dataset.train.images.nbytes <= RESIDENT_BYTES else torch.device("cpu")
        self._images = torch.from_numpy(dataset.train.images).to(resident)
        self._labels = torch.from_numpy(dataset.train.labels).to(resident)
        self._generated = dataset.generated
        self.images = len(self._labels)
        self.steps = math.ceil(self.images / batch_size)

    def epoch(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images float32 `[N, C, H, W]`, labels int64 `[N]`) of one epoch, in the order that the seed draws."""
        order = torch.randperm(self.images, generator=torch.Generator().manual_seed(seed))
        drawn = np.random.default_rng(seed)
        for rows in order.tensor_split(self.steps):
            extra = 0 if self._generated is None else round(self._generated.fraction * len(rows))
            own = rows[extra:].to(self._images.device)
            images, labels = self._images[own].to(self._device), self._labels[own].to(self._device)
            if self._generated is not None and extra:
                chosen = np.sort(drawn.integers(len(self._generated.labels), size=extra))
                more = (
                    torch.from_numpy(np.ascontiguousarray(self._generated.images[chosen])).to(self._device).float()
                    / 255
                )
                images = torch.cat([images, more])
                labels = torch.cat([labels, torch.from_numpy(self._generated.labels[chosen]).to(self._device)])
            yield images, labels

    def clean(self) -> Iterator[Tensor]:
        """Yield the training images as they are, for BatchNorm statistics."""
        for part in self._images.split(512):
            yield part.to(self._device)
