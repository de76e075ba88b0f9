"""Classifier reference: a model name, a weight file, a shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from .checkpoint import load_into, read_checkpoint
from .models import build_model
from .normalization import Normalized
from .prune.architecture import build_pruned


@dataclass(frozen=True)
class Classifier:
    """Enough to rebuild a torch classifier in any process.

    Attributes:
        model: the registered model.
        weights: its weight file.
        image_shape: channels, height, width.
        classes: number of logits.
        pruning: the `pruning.json` of a pruned one.
    """

    model: str
    weights: Path
    image_shape: tuple[int, int, int]
    classes: int
    pruning: Path | None = None

    def load(self) -> nn.Module:
        """Build the model, load its weights, put its normalisation before it; return it in eval mode and frozen.

        Raises:
            UsageError: a file is missing or broken, or does not fit the model.
        """
        model = self._built()
        found = read_checkpoint(self.weights)
        load_into(model, found.weights, path=self.weights, name=self.model)
        if found.normalize is not None:
            model = Normalized(model, found.normalize, self.image_shape[0], str(self.weights))
        return model.eval().requires_grad_(False)

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        return sum(parameter.numel() for parameter in self._built().parameters())

    def _built(self) -> nn.Module:
        if self.pruning is None:
            return build_model(self.model, self.image_shape, self.classes, seed=0)
        return build_pruned(self.model, self.image_shape, self.classes, self.pruning)
