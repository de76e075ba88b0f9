"""torch's exporter of today, by torch.export and onnxscript."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from networks import Vit, cnn, export_dynamo, fit, mlp, trained
from shared import produce
from torch import Tensor, nn


class Cells(nn.Module):
    """A recurrent layer with a learnt start, read row by row."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells, self.head = kind(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.cells(x.flatten(1, 2))[0].mean(1))


class Modern(nn.Module):
    """RMS normalisation, multi-head attention of torch.nn, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(8, 32), nn.RMSNorm(32)
        self.places = nn.Parameter(torch.randn(8, 32) * 0.1)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.gate, self.up, self.down = nn.Linear(32, 48), nn.Linear(32, 48), nn.Linear(48, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.embed(x.flatten(1, 2)) + self.places
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return self.head(x.mean(1))


class Switched(nn.Module):
    """A branch of the graph that depends on its images."""

    def __init__(self) -> None:
        super().__init__()
        self.network = cnn()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, of the images doubled where they are all dark."""
        x = torch.cond(x.sum() < -1, lambda y: y * 2, lambda y: y * 1, (x,))
        return self.network(x)


def layer(make: Callable[[], nn.Module], path: Path, **options) -> None:
    """A network, with the exporter's options."""
    export_dynamo(trained(make), path, **options)


def half(path: Path) -> None:
    """A network in float16."""
    export_dynamo(fit(cnn()).half(), path, torch.zeros(2, 1, 8, 8).half())


def bfloat(path: Path) -> None:
    """A network in bfloat16 behind float32 images."""

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = fit(mlp()).bfloat16()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x.bfloat16()).float()

    export_dynamo(Cast(), path)


FILES = {
    "cnn_defaults": partial(layer, cnn, dynamic_shapes=None, external_data=True),
    "cnn": partial(layer, cnn),
    "cnn_unoptimized": partial(layer, cnn, optimize=False),
    "vit": partial(layer, Vit),
    "vit_opset23": partial(layer, Vit, opset_version=23),
    "lstm": partial(layer, partial(Cells, nn.LSTM)),
    "modern": partial(layer, Modern),
    "switched": partial(layer, Switched),
    "half": half,
    "bfloat": bfloat,
}

produce(FILES)
