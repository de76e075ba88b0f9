"""Small convolutional networks for 8×8 images."""

from __future__ import annotations

from torch import nn

from .base import models


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def cnn8(image_shape: tuple[int, int, int], classes: int, widths: tuple[int, int, int]) -> nn.Sequential:
    """Three 3×3 convolutions at full, half and quarter resolution, then one linear layer."""
    channels, height, width = image_shape
    first, second, third = widths
    features = third * -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        *_block(channels, first, 1),
        *_block(first, second, 2),
        *_block(second, third, 2),
        nn.Flatten(),
        nn.Linear(features, classes),
    )


@models.register("cnn8_wide")
def cnn8_wide(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Teacher-sized: 24, 48, 64 channels (41,000 parameters on the digits)."""
    return cnn8(image_shape, classes, (24, 48, 64))


@models.register("cnn8_small")
def cnn8_small(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Student-sized: 8, 16, 24 channels (6,000 parameters on the digits)."""
    return cnn8(image_shape, classes, (8, 16, 24))
