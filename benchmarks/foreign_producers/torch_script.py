"""torch's TorchScript exporter: opsets, layers, layouts and answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from networks import Vit, cnn, export, fit, mlp, trained
from shared import IMAGES, produce, tinted
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Behind(nn.Module):
    """A network between two functions."""

    def __init__(self, network: nn.Module, before: Callable | None = None, after: Callable | None = None) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor):
        """What the last of them answers."""
        x = x if self.before is None else self.before(x)
        x = self.network(x)
        return x if self.after is None else self.after(x)


class Recurrent(nn.Module):
    """A recurrent network that reads the rows of an image."""

    def __init__(self, kind: type[nn.RNNBase], **options) -> None:
        super().__init__()
        self.cells = kind(8, 32, batch_first=True, **options)
        self.head = nn.Linear(64 if options.get("bidirectional") else 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.cells(x.flatten(1, 2))[0].mean(1))


class SqueezeExcite(nn.Module):
    """Depthwise convolutions with hard activations and a gate for each channel, as MobileNetV3 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, 1, 1), nn.BatchNorm2d(24), nn.Hardswish())
        self.deep = nn.Sequential(nn.Conv2d(24, 24, 3, 2, 1, groups=24), nn.BatchNorm2d(24), nn.Hardswish())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 8, 1), nn.ReLU(), nn.Conv2d(8, 24, 1), nn.Hardsigmoid()
        )
        self.head = nn.Sequential(
            nn.Conv2d(24, 32, 1), nn.ReLU6(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.deep(self.stem(x))
        return self.head(x * self.gate(x))


class SpatialTransformer(nn.Module):
    """A network that turns its image first (Jaderberg et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 6))
        nn.init.zeros_(self.turn[3].weight)
        self.turn[3].bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])
        self.network = cnn()

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        theta = self.turn(x).view(-1, 2, 3)
        line = torch.linspace(-0.875, 0.875, 8)
        places = torch.stack([line.repeat(8), line.repeat_interleave(8), torch.ones(64)])
        grid = (theta @ places).transpose(1, 2).reshape(-1, 8, 8, 2)
        return self.network(F.grid_sample(x, grid, align_corners=False, padding_mode="border").reshape(-1, 1, 8, 8))


class Decoder(nn.Module):
    """An hourglass: down, and up by a transposed convolution, pixel shuffle and interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(), nn.MaxPool2d(2, ceil_mode=True))
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 16, 2, 2), nn.ELU(), nn.Conv2d(16, 32, 1), nn.PixelShuffle(2))
        self.head = nn.Sequential(nn.Conv2d(9, 8, 3, 2, 1), nn.Softplus(), nn.Flatten(), nn.Linear(8 * 36, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.cat([self.up(self.down(x)), x], 1)
        return self.head(F.interpolate(x, size=(12, 12), mode="bilinear"))


def norms() -> nn.Module:
    """Group, instance and local response normalisation; padding by reflection; SiLU, PReLU, Mish."""
    layers = [nn.ReflectionPad2d(1), nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1)]
    layers += [nn.InstanceNorm2d(16, affine=True), nn.PReLU(16), nn.LocalResponseNorm(3), nn.ReplicationPad2d(1)]
    return nn.Sequential(*layers, nn.Conv2d(16, 16, 3, dilation=2), nn.Mish(), nn.Flatten(), nn.Linear(64, 10))


def gated() -> nn.Module:
    """Branches: maxout, einsum, a top-k pooling and a where."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = nn.Conv2d(1, 32, 3, padding=1), nn.Parameter(torch.randn(16, 16) * 0.25)
            self.head = nn.Linear(128, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).unflatten(1, (2, 16)).amax(1)
            x = torch.einsum("nchw,cd->ndhw", x, self.mix)
            x = torch.where(x > 0, x, torch.exp(x) - 1)
            return self.head(x.flatten(2).topk(8, dim=2).values.flatten(1))

    return Gated()


class TwoHeads(nn.Module):
    """Logits, and features beside them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both."""
        return self.network(x), self.network.down(self.network.stem(x)).mean((2, 3))


def wanting(
    scale: float, mean: float | tuple, std: float | tuple, channels: int = 1, turned: bool = False
) -> nn.Module:
    """A network trained on pixels of another range."""
    images = tinted(IMAGES) if channels == 3 else IMAGES

    def as_row(value):
        return torch.tensor(value).float().reshape(1, -1, 1, 1).numpy()

    images = (images * scale - as_row(mean)) / as_row(std)
    return fit(cnn(channels), images[:, ::-1].copy() if turned else images)


def coloured(network: nn.Module, path: Path, **options) -> None:
    """Write a network of three channels."""
    export(network, path, torch.zeros(2, 3, 8, 8), **options)


def background(path: Path) -> None:
    """Eleven classes, of which the first is none of the digits."""

    def pad(logits):
        return F.pad(logits, (1, 0), value=-20.0)

    export(Behind(trained(cnn), after=pad), path)


def from_bytes(path: Path) -> None:
    """Bytes with the channels last go in; the graph scales them."""

    def before(x):
        return x.permute(0, 3, 1, 2).float() / 255

    export(Behind(trained(cnn), before), path, torch.zeros(2, 8, 8, 1, dtype=torch.uint8))


def half(path: Path) -> None:
    """A network in float16, its images and its answers with it."""
    export(fit(cnn()).half(), path, torch.zeros(2, 1, 8, 8).half())


def double(path: Path) -> None:
    """A network in float64."""
    export(fit(cnn()).double(), path, torch.zeros(2, 1, 8, 8).double())


def scripted(path: Path) -> None:
    """A scripted network: the exporter cannot say the shape of its answers."""
    export(torch.jit.script(trained(cnn)), path)


def training_mode(path: Path) -> None:
    """A network with its batch normalisation and dropout kept apart."""
    network = fit(nn.Sequential(cnn(), nn.Dropout(0.1)))
    export(network, path, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE)


def fake_quantized(path: Path) -> None:
    """torch's own quantization-aware training, eager mode: fake quantizers as Q/DQ."""
    from torch.ao import quantization

    network = cnn()
    network.qconfig = quantization.QConfig(
        activation=quantization.FakeQuantize.with_args(observer=quantization.MovingAverageMinMaxObserver),
        weight=quantization.default_weight_fake_quant,
    )
    network = nn.Sequential(quantization.QuantStub(network.qconfig), network)
    quantization.prepare_qat(network.train(), inplace=True)
    fit(network)
    network.apply(quantization.disable_observer)
    export(network, path)


def wide_and_flat(path: Path) -> None:
    """Rows of 64 numbers go in."""
    export(nn.Sequential(*list(trained(mlp))[1:]), path, torch.zeros(2, 64))


def four_axes(path: Path) -> None:
    """Logits as maps of one pixel."""
    export(Behind(trained(cnn), after=lambda x: x[:, :, None, None]), path)


def probabilities(path: Path) -> None:
    """A softmax at the end."""
    export(nn.Sequential(trained(cnn), nn.Softmax(1)), path)


def labels(path: Path) -> None:
    """The number of the class, and nothing else."""
    export(Behind(trained(cnn), after=lambda x: x.argmax(1)), path)


def both_heads(path: Path) -> None:
    """Two outputs of another width each."""
    axes = {"images": {0: "N"}, "logits": {0: "N"}, "features": {0: "N"}}
    export(TwoHeads(trained(cnn)), path, output_names=["logits", "features"], dynamic_axes=axes)


def any_size(path: Path) -> None:
    """Any height and width."""
    network = nn.Sequential(
        nn.Conv2d(1, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 10, 3)
    )
    network = fit(Behind(network, after=lambda x: x.amax((2, 3))))
    export(network, path, dynamic_axes={"images": {0: "N", 2: "H", 3: "W"}, "logits": {0: "N"}})


def recurrent(kind: type[nn.RNNBase], path: Path, **options) -> None:
    """A recurrent layer."""
    export(fit(Recurrent(kind, **options)), path)


def layer(make: Callable[[], nn.Module], path: Path, **options) -> None:
    """A network of its own kind."""
    export(trained(make), path, **options)


FILES = {
    "cnn_opset9": partial(layer, cnn, opset_version=9),
    "cnn_opset17": partial(layer, cnn),
    "cnn_opset20": partial(layer, cnn, opset_version=20),
    "cnn_batch1": partial(layer, cnn, fixed=True),
    "cnn_inputs": partial(layer, cnn, keep_initializers_as_inputs=True, opset_version=13),
    "cnn_unfolded": training_mode,
    "cnn_scripted": scripted,
    "vit_opset17": partial(layer, Vit),
    "mlp_flat": wide_and_flat,
    "lstm": partial(recurrent, nn.LSTM),
    "lstm_both_ways": partial(recurrent, nn.LSTM, bidirectional=True, num_layers=2),
    "gru": partial(recurrent, nn.GRU),
    "squeeze_excite": partial(layer, SqueezeExcite),
    "spatial_transformer": partial(layer, SpatialTransformer),
    "hourglass": partial(layer, Decoder),
    "norms": partial(layer, norms),
    "gated": partial(layer, gated),
    "any_size": any_size,
    "two_heads": both_heads,
    "four_axes": four_axes,
    "background": background,
    "probabilities": probabilities,
    "labels": labels,
    "bytes_last": from_bytes,
    "half": half,
    "double": double,
    "wants_half": lambda path: export(wanting(1, 0.5, 0.5), path),
    "wants_255": lambda path: export(wanting(255, 0.0, 64.0), path),
    "wants_imagenet": lambda path: coloured(wanting(1, MEAN, STD, 3), path),
    "wants_caffe": lambda path: coloured(wanting(255, (60.0, 90.0, 120.0), (60.0, 60.0, 60.0), 3, turned=True), path),
    "fake_quantized": fake_quantized,
}

produce(FILES)
