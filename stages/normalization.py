"""Input normalisation folded into a model, so that it takes pixels in [0, 1] like every other."""

from __future__ import annotations

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, nn

from ..core.config import Config
from ..core.errors import UsageError
from ..core.reading.counted import counted


class Normalization(Config):
    """What a network was trained on: (pixel - mean) / std, per channel or one for all.

    `mean: [0.5], std: [0.5]` stands for pixels in [-1, 1], `mean: [0], std: [0.00392157]` for [0, 255].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @field_validator("mean", "std")
    @classmethod
    def _some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values:
            raise ValueError("needs one number, or one a channel")
        return values

    @field_validator("std")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if min(values) <= 0:
            raise ValueError("must be above 0")
        return values

    @model_validator(mode="after")
    def _same_channels(self) -> Normalization:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} numbers and std {len(self.std)}; both need as many")
        return self

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std))
        return f"{{mean: [{mean}], std: [{std}]}}"


class Normalized(nn.Module):
    """A model behind its normalisation: pixels in [0, 1] in, logits out.

    Args:
        model: takes normalised images.
        normalization: what it expects.
        channels: image channels.
        where: the recipe key, for messages.

    Raises:
        UsageError: the numbers are neither one nor one a channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, normalization: Normalization, channels: int, where: str) -> None:
        super().__init__()
        found = len(normalization.mean)
        if found not in (1, channels):
            raise UsageError(f"{where}: has {found} numbers, the images have {counted(channels, 'channel')}")
        self.model = model
        shape = (1, found, 1, 1)
        self.register_buffer("mean", torch.tensor(normalization.mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(shape), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Answer images `[N, C, H, W]` in [0, 1] with the model's logits."""
        return self.model((images - self.mean) / self.std)
