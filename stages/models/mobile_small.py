"""A small network of depthwise-separable convolutions, the kind that quantization hurts most."""

from __future__ import annotations

from torch import nn

from .base import models

# Output channels and stride of every block.
_BLOCKS = ((32, 2), (48, 2), (64, 1), (64, 1))


@models.register("mobile_small")
def mobile_small(image_shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """MobileNet's blocks (Howard et al. 2017, table 1 and figure 3) at a small scale: 12,218 parameters for 10 classes.

    With MobileNetV2's ReLU6 (Sandler et al. 2018). Depthwise filters, folded with their BatchNorm, differ widely in
    range between channels (Krishnamoorthi 2018, section 3.2), so that one scale a tensor is too few.
    """
    channels = 16
    layers = _activated(nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False), channels)
    for planes, stride in _BLOCKS:
        depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
        layers += _activated(depthwise, channels)
        layers += _activated(nn.Conv2d(channels, planes, 1, bias=False), planes)
        channels = planes
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def _activated(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU6()]
