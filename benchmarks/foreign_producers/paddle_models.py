"""Paddle networks by paddle2onnx."""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path

import paddle
import paddle2onnx
from paddle import nn
from shared import IMAGES, LABELS, produce

paddle.set_device("cpu")


def convolutions() -> nn.Layer:
    """Convolutions, batch normalisation, pooling."""
    return nn.Sequential(
        nn.Conv2D(1, 16, 3, padding=1),
        nn.BatchNorm2D(16),
        nn.ReLU(),
        nn.Conv2D(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2D(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2D(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def mobile() -> nn.Layer:
    """Depthwise convolutions, hard swish, ReLU6."""
    return nn.Sequential(
        nn.Conv2D(1, 24, 3, padding=1),
        nn.BatchNorm2D(24),
        nn.Hardswish(),
        nn.Conv2D(24, 24, 3, stride=2, padding=1, groups=24),
        nn.BatchNorm2D(24),
        nn.ReLU6(),
        nn.Conv2D(24, 32, 1),
        nn.Swish(),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class Transformer(nn.Layer):
    """Paddle's own transformer encoder over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, activation="gelu"), 1)
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        """Logits."""
        return self.head(self.encoder(self.embed(x.squeeze(1))).flatten(1))


class Recurrent(nn.Layer):
    """A recurrent layer that reads the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 32), nn.Linear(32, 10)

    def forward(self, x):
        """Logits."""
        return self.head(self.cells(x.squeeze(1))[0].mean(1))


def hourglass() -> nn.Layer:
    """Transposed convolution, interpolation, group normalisation."""
    return nn.Sequential(
        nn.Conv2D(1, 16, 3, stride=2, padding=1),
        nn.GroupNorm(4, 16),
        nn.LeakyReLU(),
        nn.Conv2DTranspose(16, 16, 2, stride=2),
        nn.ELU(),
        nn.Upsample(size=[12, 12], mode="bilinear"),
        nn.Conv2D(16, 16, 3, stride=3),
        nn.Mish(),
        nn.Flatten(),
        nn.Linear(256, 10),
        nn.Softmax(),
    )


@cache
def trained(make) -> nn.Layer:
    """A network, trained once a process."""
    paddle.seed(0)
    network = make()
    squashed = isinstance(network, nn.Sequential) and isinstance(network[-1], nn.Softmax)
    optimizer = paddle.optimizer.AdamW(3e-3, parameters=network.parameters())
    x, y = paddle.to_tensor(IMAGES), paddle.to_tensor(LABELS)
    network.train()
    for _ in range(10):
        order = paddle.randperm(len(IMAGES))
        for start in range(0, len(IMAGES), 64):
            rows = order[start : start + 64]
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows], use_softmax=not squashed)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    network.eval()
    print(
        f"{make.__name__}: {float((network(x[:1000]).argmax(1) == y[:1000]).astype('float32').mean()):.3f}", flush=True
    )
    return network


def layer(make, path: Path, batch: int = -1, opset: int = 17, **options) -> None:
    """A network of its own kind."""
    with tempfile.TemporaryDirectory() as folder:
        spec = [paddle.static.InputSpec([batch, 1, 8, 8], "float32", "images")]
        paddle.jit.save(trained(make), f"{folder}/model", input_spec=spec)
        program = next(p for p in (Path(folder) / "model.json", Path(folder) / "model.pdmodel") if p.exists())
        paddle2onnx.export(str(program), f"{folder}/model.pdiparams", str(path), opset_version=opset, **options)


FILES = {
    "cnn_opset17": partial(layer, convolutions),
    "cnn_opset11": partial(layer, convolutions, opset=11),
    "cnn_batch1": partial(layer, convolutions, batch=1),
    "mobile": partial(layer, mobile),
    "transformer": partial(layer, Transformer),
    "lstm": partial(layer, Recurrent),
    "hourglass": partial(layer, hourglass),
}

produce(FILES)
