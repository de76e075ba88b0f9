"""Small networks in torch, and how they are trained and exported, for the producers that begin with one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from shared import IMAGES, LABELS
from torch import Tensor, nn

torch.set_num_threads(1)


def cnn(channels: int = 1, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Convolutions, batch normalisation, a residual sum, average pooling: 8k weights."""

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(channels, 12, 3, padding=1), nn.BatchNorm2d(12), activation())
            self.down = nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.BatchNorm2d(24), activation())
            self.block = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), activation())
            self.pool = nn.AvgPool2d(2)
            self.head = nn.Linear(96, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.down(self.stem(x))
            return self.head(self.pool(x + self.block(x)).flatten(1))

    return Cnn()


class Vit(nn.Module):
    """A vision transformer, 16 patches of 2 by 2, two blocks: 14k weights."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.places = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.blocks = nn.ModuleList(VitBlock(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class VitBlock(nn.Module):
    """Attention and a perceptron, each behind a layer normalisation."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens to tokens."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.out(mixed)
        return x + self.perceptron(self.between(x))


def mlp() -> nn.Module:
    """A perceptron: 13k weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 10))


def fit(network: nn.Module, images: np.ndarray = IMAGES, epochs: int = 12, rate: float = 5e-3) -> nn.Module:
    """Train a network, up to a learning rate and down again, and leave it in evaluation mode."""
    torch.manual_seed(0)
    x, y = torch.from_numpy(images).contiguous(), torch.from_numpy(LABELS)
    steps = epochs * -(-len(x) // 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        right = (network.eval()(x[:1000]).argmax(1) == y[:1000]).float().mean()
    print(f"{type(network).__name__}: {right:.3f} of the training images right", flush=True)
    return network


@cache
def trained(make: Callable[[], nn.Module], **options: Any) -> nn.Module:
    """A network, trained once a process."""
    torch.manual_seed(0)
    return fit(make(), **options)


def export(
    network: nn.Module, path: Path, example: Tensor | None = None, *, fixed: bool = False, **options: Any
) -> None:
    """Write a network by torch's TorchScript exporter, with any batch size unless `fixed`."""
    example = torch.zeros(1 if fixed else 2, 1, 8, 8) if example is None else example
    axes = {} if fixed else {"dynamic_axes": {"images": {0: "N"}, "logits": {0: "N"}}}
    options = {"opset_version": 17, "input_names": ["images"], "output_names": ["logits"], **axes, **options}
    torch.onnx.export(network, (example,), str(path), dynamo=False, **options)


def export_dynamo(network: nn.Module, path: Path, example: Tensor | None = None, **options: Any) -> None:
    """Write a network by torch's exporter of today, with any batch size."""
    example = torch.zeros(2, 1, 8, 8) if example is None else example
    options = {"dynamic_shapes": ({0: torch.export.Dim("N")},), "external_data": False, **options}
    torch.onnx.export(network, (example,), str(path), dynamo=True, **options)
