"""A classifier of the run as the later stages know it: a model name, a weight file, a shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from .checkpoint import load_into, read_checkpoint
from .models import build_model
from .normalization import Normalized


@dataclass(frozen=True)
class Classifier:
    """Enough to rebuild a torch classifier in any process."""

    model: str
    weights: Path
    image_shape: tuple[int, int, int]
    classes: int

    def load(self) -> nn.Module:
        """Build the model, load its weights, put its normalisation before it; return it in eval mode and frozen."""
        model = build_model(self.model, self.image_shape, self.classes, seed=0)
        found = read_checkpoint(self.weights)
        load_into(model, found.weights, path=self.weights, name=self.model)
        if found.normalize is not None:
            model = Normalized(model, found.normalize, self.image_shape[0], str(self.weights))
        return model.eval().requires_grad_(False)

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        model = build_model(self.model, self.image_shape, self.classes, seed=0)
        return sum(parameter.numel() for parameter in model.parameters())
