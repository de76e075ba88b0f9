"""MobileNetV2 for small images: three of the paper's five halvings.

Source: Sandler et al., CVPR 2018 (arXiv 1801.04381), in the layout of github.com/kuangliu/pytorch-cifar.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .base import models

# Expansion, output planes, blocks, stride of the first block. The paper strides in the stem and at 24 planes too.
_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Expand by a 1×1 convolution, filter each plane by 3×3, project by 1×1."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        planes = expansion * inputs
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, groups=planes, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        # Unlike the paper, this layout has a shortcut wherever the size stays, projected where the width changes.
        self.shortcut = nn.Sequential()
        if stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, H/stride, W/stride]`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    """The stem, seventeen inverted residuals, a 1×1 convolution to 1,280 planes, and the classifier.

    Args:
        channels: image channels.
        classes: number of logits.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks: list[nn.Module] = []
        width = 32
        for expansion, planes, count, stride in _GROUPS:
            for number in range(count):
                blocks.append(InvertedResidual(width, planes, expansion, stride if number == 0 else 1))
                width = planes
        self.layers = nn.Sequential(*blocks)
        self.conv2 = nn.Conv2d(width, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280)
        self.linear = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Answer images `[N, C, H, W]` with logits `[N, classes]`."""
        out = self.layers(F.relu(self.bn1(self.conv1(x))))
        out = F.relu(self.bn2(self.conv2(out)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


@models.register("mobilenet_v2")
def mobilenet_v2(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """MobileNetV2 (2,296,922 parameters for 3 channels and 10 classes)."""
    return MobileNetV2(image_shape[0], classes)
