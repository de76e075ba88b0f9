"""Wide ResNets of any depth and width: `wrn_34_10` is WRN-34-10.

Source: Zagoruyko & Komodakis, BMVC 2016 (arXiv 1605.07146), in the layout of github.com/yaodongyu/TRADES,
which RobustBench shares.
"""

from __future__ import annotations

import math
import re
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import UsageError
from .base import ModelBuilder, models

_REST = re.compile(r"(\d+)_(\d+)")


class WideBlock(nn.Module):
    """Pre-activation block; where the width changes, both branches take the activated input."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        # Only where the width changes, as in the official code: WRN-d-1 has none in its first group.
        self.convShortcut = nn.Conv2d(inputs, planes, 1, stride=stride, bias=False) if inputs != planes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, planes, H/stride, W/stride]`."""
        activated = F.relu(self.bn1(x))
        kept = x if self.convShortcut is None else self.convShortcut(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + kept


class WideGroup(nn.Module):
    """Blocks of one width; the first one strides."""

    def __init__(self, blocks: int, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        first = WideBlock(inputs, planes, stride)
        self.layer = nn.Sequential(first, *(WideBlock(planes, planes, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks in turn."""
        return self.layer(x)


class WideResNet(nn.Module):
    """Three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times `width` planes.

    Args:
        depth: 6n + 4.
        width: the widening factor.
        channels: image channels.
        classes: number of logits.
    """

    # TRADES's code builds one more group that its forward never runs; its checkpoints carry it.
    unused_weights: ClassVar[tuple[str, ...]] = ("sub_block1.",)

    def __init__(self, depth: int, width: int, channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = WideGroup(blocks, 16, 16 * width, 1)
        self.block2 = WideGroup(blocks, 16 * width, 32 * width, 2)
        self.block3 = WideGroup(blocks, 32 * width, 64 * width, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, math.sqrt(2 / (module.weight[0, 0].numel() * module.out_channels)))
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Answer images `[N, C, H, W]` with logits `[N, classes]`."""
        out = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.bn1(out)), 1).flatten(1))


@models.family("wrn_", form="wrn_<depth>_<width>", members=lambda: ("wrn_16_4", "wrn_28_10", "wrn_34_10", "wrn_34_20"))
def wide_resnet(rest: str) -> ModelBuilder:
    """Wide ResNet of any depth and width; WRN-34-10 has 46,160,474 parameters for 3 channels and 10 classes.

    Raises:
        KeyError: the name has another form.
        UsageError: no network has that depth or width.
    """
    found = _REST.fullmatch(rest)
    if found is None:
        raise KeyError(rest)
    depth, width = int(found[1]), int(found[2])
    if depth < 10 or (depth - 4) % 6 or width < 1:
        near = max(10, round((depth - 4) / 6) * 6 + 4)
        raise UsageError(
            f"model 'wrn_{rest}': a depth is 6n + 4 (10, 16, 22, 28, 34, ...) and a width at least 1; "
            f"the nearest is wrn_{near}_{max(width, 1)}"
        )

    def build(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        return WideResNet(depth, width, image_shape[0], classes)

    return build
