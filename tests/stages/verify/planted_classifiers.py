"""Classifiers with a planted defect, as subjects that any process can open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.verify.subject.subject import OpenedSubject, Predict, in_batches
from torch import nn


class Rounding(nn.Module):
    """Rounds the pixels: the answers hardly change, and every gradient is zero."""

    def __init__(self, model: nn.Module, levels: int) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model((x * self.levels).round() / self.levels)


class Neighbours(nn.Module):
    """Answers depend on the batch an image stands in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x) + 20 * self.model(x.mean(0, keepdim=True).expand_as(x)).roll(len(x) % 7, 1)


@dataclass(frozen=True)
class Planted:
    """A torch subject behind a defect; `lie` swaps the twin for one of other labels."""

    name: str
    classifier: Classifier
    defect: str = "none"

    def _model(self) -> nn.Module:
        model = self.classifier.load()
        if self.defect == "rounding":
            return Rounding(model, 31)
        return Neighbours(model) if self.defect == "neighbours" else model

    def open(self) -> OpenedSubject:
        model = self._model()
        twin = in_batches(model)
        if self.defect == "lie":
            return OpenedSubject(twin, {"autograd": model}, 10, lambda images: -in_batches(model)(images))
        if self.defect == "nan":
            return OpenedSubject(lambda images: np.full((len(images), 10), np.nan, np.float32), {"autograd": model}, 10)
        return OpenedSubject(twin, {"autograd": model}, 10, twin)

    def predictor(self) -> Predict:
        return self.open().predict
