"""ResNets for small images: a 3×3 stem of stride 1, no early pooling.

Source: He et al., CVPR 2016 (arXiv 1512.03385), in the layout of github.com/kuangliu/pytorch-cifar, whose
parameter names most public CIFAR checkpoints carry.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .base import models


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = projection(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, planes, H/stride, W/stride]`."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.shortcut = projection(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, 4 · planes, H/stride, W/stride]`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return the shortcut: empty where shapes agree, otherwise a 1×1 convolution with BatchNorm."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Four groups of blocks with 64, 128, 256 and 512 planes; the last feature map is 1/8 of the image.

    Args:
        block: the kind of block.
        depths: blocks per group.
        channels: image channels.
        classes: number of logits.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: tuple[int, int, int, int], channels: int, classes: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        width = 64
        groups: list[nn.Sequential] = []
        for planes, depth, stride in zip((64, 128, 256, 512), depths, (1, 2, 2, 2), strict=True):
            blocks: list[nn.Module] = []
            for number in range(depth):
                blocks.append(block(width, planes, stride if number == 0 else 1))
                width = planes * block.expansion
            groups.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = groups
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Answer images `[N, C, H, W]` with logits `[N, classes]`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        # The official code pools 4×4 windows, which is the same at 32×32 and fits no other size.
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


@models.register("resnet18")
def resnet18(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18 (11,173,962 parameters for 3 channels and 10 classes)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), image_shape[0], classes)


@models.register("resnet34")
def resnet34(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-34 (21,282,122 parameters)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), image_shape[0], classes)


@models.register("resnet50")
def resnet50(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-50 (23,520,842 parameters)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), image_shape[0], classes)
