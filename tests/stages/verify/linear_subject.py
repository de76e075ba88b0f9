"""A linear classifier as a subject: how far its decision boundary is from an image is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from edgeproof.stages.data import Split
from edgeproof.stages.verify.subject.subject import OpenedSubject, Predict, in_batches
from torch import Tensor, nn

CLASSES, SHAPE = 5, (1, 6, 6)


class Linear(nn.Module):
    """Images `[N, 1, 6, 6]` to logits `[N, 5]`, by seeded weights."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed).normal(size=(int(np.prod(SHAPE)), CLASSES))
        self.weights = nn.Parameter(torch.from_numpy(draw.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weights


@dataclass(frozen=True)
class LinearSubject:
    """The linear classifier, in any process."""

    name: str = "linear"
    seed: int = 0

    def open(self) -> OpenedSubject:
        model = Linear(self.seed).eval()
        return OpenedSubject(in_batches(model), {"autograd": model}, CLASSES)

    def predictor(self) -> Predict:
        return in_batches(Linear(self.seed).eval())


def draw_split(samples: int, seed: int = 0) -> Split:
    """Images far from black and white, with the labels that the classifier of seed 0 gives them, every tenth a wrong
    one."""
    random = np.random.default_rng(100 + seed)
    images = random.uniform(0.35, 0.65, (samples, *SHAPE)).astype(np.float32)
    labels = Linear(0)(torch.from_numpy(images)).argmax(1).numpy()
    labels[::10] = (labels[::10] + 1) % CLASSES
    return Split(images, labels.astype(np.int64), np.arange(samples) * 3)


def exact_distances(split: Split, norm: str, seed: int = 0) -> np.ndarray:
    """How far each image is from the nearest one with another label: 0 where the label is wrong already."""
    model = Linear(seed)
    weights = model.weights.detach().numpy().astype(np.float64)
    logits = (split.images.reshape(len(split), -1).astype(np.float64) - 0.5) @ weights
    nearest = np.full(len(split), np.inf)
    for row, label in enumerate(split.labels):
        for other in range(CLASSES):
            if other != label:
                slope = weights[:, label] - weights[:, other]
                size = np.abs(slope).sum() if norm == "Linf" else np.linalg.norm(slope)
                nearest[row] = min(nearest[row], (logits[row, label] - logits[row, other]) / size)
    return np.maximum(nearest, 0.0)
