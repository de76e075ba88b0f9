"""Loss wrappers and ensembles: weighted sums of logits, logits in another scale, answers to rounded images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...eight_bit import STEPS

# Gradients by name: of both a quantized model and its float one, of what they differ by, of logits made smaller.
JOINT, DIFFERENCE, RESCALED = "joint", "difference", "rescaled"


class Blend(nn.Module):
    """The weighted sum of several models' logits.

    Equal weights look for examples that fool both a quantized model and its float one; a negative weight on the float
    one looks for those that fool the quantized one alone, where their difference is largest.
    """

    def __init__(self, models: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.weights = tuple(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[N, C, H, W]` to logits `[N, K]`."""
        return torch.stack([weight * model(x) for weight, model in zip(self.weights, self.models, strict=True)]).sum(0)


class Scaled(nn.Module):
    """A model's logits times a factor; the labels stay."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model = model
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Images `[N, C, H, W]` to logits `[N, K]`."""
        return self.factor * self.model(x)


class OnGrid(nn.Module):
    """A model of images rounded to the 1/255 grid; the gradient takes no notice of the rounding."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Images `[N, C, H, W]` in [0, 1] to logits `[N, K]`."""
        return self.model(x + ((x * STEPS).round() / STEPS - x).detach())
