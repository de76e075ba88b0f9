"""Normalisations, in inference semantics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator


@operator("BatchNormalization", since=7)
def batch_normalization(node: Node) -> Kernel:
    """By stored statistics, or in training mode by its input's own, as standardised weights are written.

    Opsets 7 and 8 know statistics per activation, which are refused.
    """
    epsilon = node.float("epsilon", 1e-5)
    node.require(bool(node.int("spatial", 1)), "spatial=0 is not implemented")
    if node.int("training_mode", 0):
        return _by_own_statistics(node, epsilon)
    node.ignore("momentum")
    node.require(not any(node.has_output(i) for i in range(1, 5)), "training outputs are not implemented")

    def kernel(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)

    return kernel


def _by_own_statistics(node: Node, epsilon: float) -> Kernel:
    momentum = node.float("momentum", 0.9)
    node.require(not any(node.has_output(i) for i in (3, 4)), "saved statistics are not implemented")

    def normalized(
        x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        own_variance, own_mean = torch.var_mean(x, (0, *range(2, x.dim())), correction=0)
        # `F.batch_norm` differentiates by no statistics that it is given.
        mu, deviation, gain, shift = (
            each.reshape(-1, *[1] * (x.dim() - 2)) for each in (own_mean, (own_variance + epsilon).sqrt(), scale, bias)
        )
        y = (x - mu) / deviation * gain + shift
        later_mean = momentum * mean + (1 - momentum) * own_mean
        return y, later_mean, momentum * variance + (1 - momentum) * own_variance

    return normalized if node.has_output(1) or node.has_output(2) else lambda *inputs: normalized(*inputs)[0]


@operator("InstanceNormalization", since=6)
def instance_normalization(node: Node) -> Kernel:
    """By the statistics of every channel of every sample."""
    epsilon = node.float("epsilon", 1e-5)

    def kernel(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        axes = tuple(range(2, x.dim()))
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        shape = (-1, *[1] * len(axes))
        return (x - mean) * torch.rsqrt(variance + epsilon) * scale.reshape(shape) + bias.reshape(shape)

    return kernel


def _stash_type(node: Node) -> None:
    node.require(
        node.int("stash_type", TensorProto.FLOAT) in (TensorProto.FLOAT, node.elem_type(0)),
        "a stash_type other than float is not implemented",
    )


@operator("GroupNormalization", since=18)
def group_normalization(node: Node) -> Kernel:
    """By the statistics of groups of channels; scale and bias per group in opsets 18 to 20, per channel since 21."""
    epsilon, groups = node.float("epsilon", 1e-5), node.int("num_groups", 1)
    per_group = node.opset < 21
    if not per_group:
        _stash_type(node)

    def kernel(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        if per_group:
            each = x.shape[1] // groups
            scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
        return F.group_norm(x, groups, scale, bias, epsilon)

    return kernel


@operator("LayerNormalization", since=1)
def layer_normalization(node: Node) -> Kernel:
    """By the statistics of the axes from `axis` on; on demand also mean and inverse deviation.

    ONNX has it since opset 17, ONNX Runtime's optimisers write it into models of any.
    """
    epsilon, axis = node.float("epsilon", 1e-5), node.int("axis", -1)
    _stash_type(node)

    def statistics(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        axes = tuple(range(axis % x.dim(), x.dim()))
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        inverse = torch.rsqrt(variance + epsilon)
        result = (x - mean) * inverse * scale
        return (result if bias is None else result + bias), mean, inverse

    def kernel(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        shape = x.shape[axis % x.dim() :]
        if scale.shape == shape and (bias is None or bias.shape == shape):
            return F.layer_norm(x, shape, scale, bias, epsilon)
        return statistics(x, scale, bias)[0]

    return statistics if node.has_output(1) or node.has_output(2) else kernel


@operator("RMSNormalization", since=23)
def rms_normalization(node: Node) -> Kernel:
    """By the root mean square of the axes from `axis` on."""
    epsilon, axis = node.float("epsilon", 1e-5), node.int("axis", -1)
    _stash_type(node)

    def kernel(x: Tensor, scale: Tensor) -> Tensor:
        axes = tuple(range(axis % x.dim(), x.dim()))
        return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon) * scale

    return kernel


@operator("MeanVarianceNormalization", since=9)
def mean_variance_normalization(node: Node) -> Kernel:
    """Mean 0 and variance 1 over the axes."""
    axes = node.ints("axes") or [0, 2, 3]

    def kernel(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)

    return kernel


@operator("LpNormalization", since=1)
def lp_normalization(node: Node) -> Kernel:
    """Divided by the p-norm along an axis; 0 where that is 0."""
    axis, p = node.int("axis", -1), node.int("p", 2)

    def kernel(x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, p, dim=axis, keepdim=True)
        return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))

    return kernel


@operator("LRN", since=1)
def local_response_normalization(node: Node) -> Kernel:
    """Divided by a power of the local mean square over neighbouring channels."""
    alpha, beta, bias = node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0)
    size = node.int("size", 1)
    before = (size - 1) // 2

    def kernel(x: Tensor) -> Tensor:
        squares = (x * x).reshape(x.shape[0], x.shape[1], -1).movedim(1, -1)
        squares = F.pad(squares, (before, size - 1 - before))
        local = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1).reshape(x.shape)
        return x / (bias + alpha / size * local) ** beta

    return kernel
