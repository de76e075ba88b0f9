"""Small convolutional networks for 28×28 images."""

from __future__ import annotations

from torch import nn

from .base import models


def cnn28(image_shape: tuple[int, int, int], classes: int, widths: tuple[int, int, int, int]) -> nn.Sequential:
    """Four 3×3 convolutions at full, half, quarter and eighth resolution, then one linear layer."""
    channels, height, width = image_shape
    layers: list[nn.Module] = []
    for planes, stride in zip(widths, (1, 2, 2, 2), strict=True):
        layers += [
            nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
        ]
        channels = planes
    features = channels * -(-height // 8) * -(-width // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes))


@models.register("cnn28_wide")
def cnn28_wide(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Teacher-sized: 32, 64, 128, 144 channels (282,122 parameters for 1×28×28 and 10 classes)."""
    return cnn28(image_shape, classes, (32, 64, 128, 144))


@models.register("cnn28_small")
def cnn28_small(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Student-sized: 8, 16, 24, 36 channels (18,394 parameters for 1×28×28 and 10 classes)."""
    return cnn28(image_shape, classes, (8, 16, 24, 36))
