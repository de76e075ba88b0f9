"""A classifier of the run as the later stages know it: a model name, a weight file, a shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from .checkpoint import load_into, read_weights
from .models import build_model


@dataclass(frozen=True)
class Classifier:
    """Enough to rebuild a torch classifier in any process."""

    model: str
    weights: Path
    image_shape: tuple[int, int, int]
    classes: int

    def load(self) -> nn.Module:
        """Build the model, load its weights and return it in eval mode, its parameters frozen."""
        model = build_model(self.model, self.image_shape, self.classes, seed=0)
        weights, _ = read_weights(self.weights)
        load_into(model, weights, path=self.weights, name=self.model)
        return model.eval().requires_grad_(False)

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        model = build_model(self.model, self.image_shape, self.classes, seed=0)
        return sum(parameter.numel() for parameter in model.parameters())
