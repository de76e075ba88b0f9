"""Pre-activation ResNet-18 for small images.

Source: He et al., ECCV 2016 (arXiv 1603.05027), in the layout of github.com/kuangliu/pytorch-cifar and of
github.com/locuslab/robust_overfitting (Rice et al., ICML 2020). The two have the same names, but Rice et al.
end in a BatchNorm `bn` and a ReLU, as the paper does, and kuangliu's does not; so there are two models.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .base import models


class PreActBlock(nn.Module):
    """BatchNorm and ReLU before each of two 3×3 convolutions; the projection takes the activated input."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inputs != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, planes, H/stride, W/stride]`."""
        activated = F.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + kept


class PreActResNet(nn.Module):
    """Four groups of two blocks with 64, 128, 256 and 512 planes.

    Args:
        channels: image channels.
        classes: number of logits.
        final_norm: whether BatchNorm and ReLU come before the classifier.
    """

    def __init__(self, channels: int, classes: int, *, final_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(64, 64, 1), PreActBlock(64, 64, 1))
        self.layer2 = nn.Sequential(PreActBlock(64, 128, 2), PreActBlock(128, 128, 1))
        self.layer3 = nn.Sequential(PreActBlock(128, 256, 2), PreActBlock(256, 256, 1))
        self.layer4 = nn.Sequential(PreActBlock(256, 512, 2), PreActBlock(512, 512, 1))
        self.bn = nn.BatchNorm2d(512) if final_norm else None
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Answer images `[N, C, H, W]` with logits `[N, classes]`."""
        out = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            out = F.relu(self.bn(out))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


@models.register("preact_resnet18")
def preact_resnet18(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Kuangliu's PreActResNet-18 (11,171,146 parameters for 3 channels and 10 classes)."""
    return PreActResNet(image_shape[0], classes, final_norm=False)


@models.register("preact_resnet18_bn")
def preact_resnet18_bn(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """PreActResNet-18 of Rice et al. and of the paper, with a last BatchNorm (11,172,170 parameters)."""
    return PreActResNet(image_shape[0], classes, final_norm=True)
