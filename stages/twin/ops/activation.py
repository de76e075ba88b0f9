"""Activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backward import clip
from ..node import Node
from ..registry import Kernel, operator


@operator("Relu", since=6)
def relu(node: Node) -> Kernel:
    """max(x, 0), with torch's own gradient."""
    return torch.relu


@operator("LeakyRelu", since=6)
def leaky_relu(node: Node) -> Kernel:
    """x, or alpha x below 0."""
    alpha = node.float("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


@operator("PRelu", since=7)
def prelu(node: Node) -> Kernel:
    """x, or slope x below 0; the slope broadcasts."""
    return lambda x, slope: torch.where(x < 0, slope * x, x)


@operator("ThresholdedRelu", since=10)
def thresholded_relu(node: Node) -> Kernel:
    """x where it exceeds alpha, else 0."""
    alpha = node.float("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


@operator("Elu", since=6)
def elu(node: Node) -> Kernel:
    """x, or alpha (exp(x) - 1) below 0."""
    alpha = node.float("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


@operator("Celu", since=12)
def celu(node: Node) -> Kernel:
    """x, or alpha (exp(x / alpha) - 1) below 0."""
    alpha = node.float("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


@operator("Selu", since=6)
def selu(node: Node) -> Kernel:
    """gamma times x, or gamma alpha (exp(x) - 1) below 0."""
    alpha, gamma = (
        node.float("alpha", 1.67326319217681884765625),
        node.float("gamma", 1.05070102214813232421875),
    )
    return lambda x: gamma * F.elu(x, alpha)


@operator("Softplus", since=1)
def softplus(node: Node) -> Kernel:
    """log(1 + exp(x))."""
    return F.softplus


@operator("Softsign", since=1)
def softsign(node: Node) -> Kernel:
    """x / (1 + |x|)."""
    return F.softsign


@operator("HardSigmoid", since=6)
def hard_sigmoid(node: Node) -> Kernel:
    """alpha x + beta, in [0, 1]."""
    alpha, beta = node.float("alpha", 0.2), node.float("beta", 0.5)
    return lambda x: clip(alpha * x + beta, 0, 1)


@operator("HardSwish", since=14)
def hard_swish(node: Node) -> Kernel:
    """x times the hard sigmoid with slope 1/6."""
    return lambda x: x * clip(x * (1 / 6) + 0.5, 0, 1)


@operator("Mish", since=18)
def mish(node: Node) -> Kernel:
    """x tanh(softplus(x))."""
    return F.mish


@operator("Swish", since=24)
def swish(node: Node) -> Kernel:
    """x sigmoid(alpha x)."""
    alpha = node.float("alpha", 1.0)
    return F.silu if alpha == 1.0 else lambda x: x * torch.sigmoid(alpha * x)


@operator("SwiGLU", since=28)
def swiglu(node: Node) -> Kernel:
    """The Swish of the first input, times the second."""
    alpha = node.float("alpha", 1.0)
    return lambda gate, value: gate * torch.sigmoid(alpha * gate) * value


@operator("Gelu", since=20)
def gelu(node: Node) -> Kernel:
    """Gaussian error linear unit, exact or by tanh."""
    approximate = node.string("approximate", "none", among=("none", "tanh"))
    return lambda x: F.gelu(x, approximate=approximate)


@operator("Shrink", since=9)
def shrink(node: Node) -> Kernel:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    bias, lambd = node.float("bias", 0.0), node.float("lambd", 0.5)

    def kernel(x: Tensor) -> Tensor:
        outer = torch.where(x > lambd, x - bias, torch.zeros_like(x))
        return torch.where(x < -lambd, x + bias, outer).to(x.dtype)

    return kernel


@operator("Softmax", "LogSoftmax", "Hardmax", since=1)
def softmax(node: Node) -> Kernel:
    """Softmax, its logarithm, or a one-hot of the first largest, along an axis.

    Before opset 13 the tensor is flattened to two dimensions at the axis.
    """
    function = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax, "Hardmax": _hardmax}[node.op_type]
    if node.opset >= 13:
        axis = node.int("axis", -1)
        return lambda x: function(x, axis)
    start = node.int("axis", 1)

    def coerced(x: Tensor) -> Tensor:
        rows = int(torch.tensor(x.shape[: start % x.dim() if start < 0 else start]).prod())
        return function(x.reshape(rows, -1), -1).reshape(x.shape)

    return coerced


def _hardmax(x: Tensor, axis: int) -> Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)
