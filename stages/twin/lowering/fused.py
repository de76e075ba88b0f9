"""Fused float operators, as ONNX Runtime's optimisers write them (onnxruntime/docs/ContribOperators.md)."""

from __future__ import annotations

from collections.abc import Mapping

from ..node import Node, Value
from ..registry import MICROSOFT
from .standard import Standard, lowered

# Activations that a layer may have swallowed, with the names of their parameters in FusedConv's order.
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Softsign": (),
    "Tanh": (),
    "Clip": ("min", "max"),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "ThresholdedRelu": ("alpha",),
}


def _activated(to: Standard, node: Node, value: Value, parameters: Mapping[str, float | None]) -> Value:
    """`value` behind the activation of `node`; `parameters` that it does not know are refused."""
    name = node.string("activation", "", among=("", *_ACTIVATIONS))
    if not name:
        return value
    given = {key: number for key, number in parameters.items() if number is not None}
    node.require(given.keys() <= {*_ACTIVATIONS[name]}, f"activation {name} with {', '.join(given)} is not implemented")
    return to.op(name, value, opset=6 if name == "Clip" else 10, **given)


@lowered("FusedConv", domain=MICROSOFT)
def fused_conv(node: Node, to: Standard) -> Value:
    """Convolution, then the sum with a fourth input, then an activation."""
    numbers = node.floats("activation_params", [])
    parameters = dict(zip(_ACTIVATIONS.get(node.string("activation", ""), ()), numbers, strict=False))
    node.require(len(parameters) == len(numbers), f"{len(numbers)} activation_params are not implemented")
    value = to.op("Conv", *(node.input(index) for index in range(3)), **node.others("activation"))
    if node.has(3):
        value = to.op("Add", value, node.input(3))
    return _activated(to, node, value, parameters)


@lowered("FusedGemm", domain=MICROSOFT)
def fused_gemm(node: Node, to: Standard) -> Value:
    """Gemm, then an activation."""
    parameters = {name: node.float(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")}
    return _activated(to, node, to.op("Gemm", *node.inputs, **node.others("activation")), parameters)


@lowered("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(node: Node, to: Standard) -> Value:
    """alpha A' B', of which the last two axes may be transposed."""
    node.require(not node.int("transBatchA", 0) and not node.int("transBatchB", 0), "transBatch is not implemented")
    factors = [
        to.op("Einsum", node.input(index), equation="...ij->...ji") if node.int(name, 0) else node.input(index)
        for index, name in enumerate(("transA", "transB"))
    ]
    product, alpha = to.op("MatMul", *factors), node.float("alpha", 1.0)
    return product if alpha == 1 else to.op("Mul", product, to.number(alpha))


@lowered("Gelu", "BiasGelu", "FastGelu", domain=MICROSOFT)
def gelu(node: Node, to: Standard) -> Value:
    """Gelu, exact or by tanh, of the first input or of its sum with a bias."""
    value = to.op("Add", *node.inputs) if node.has(1) else node.input(0)
    return to.op("Gelu", value, approximate="tanh" if node.op_type == "FastGelu" else "none")


@lowered("QuickGelu", domain=MICROSOFT)
def quick_gelu(node: Node, to: Standard) -> Value:
    """x sigmoid(alpha x)."""
    return to.op("Swish", node.input(0), opset=24, alpha=node.float("alpha", 1.702))


@lowered("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(node: Node, to: Standard) -> list[Value]:
    """Normalisation over the last axis of the sum of two inputs and a bias; on demand also the sum."""
    simplified = node.op_type.startswith("SkipSimplified")
    gamma, beta, bias = node.input(2), None if simplified else node.input(3), node.input(3 if simplified else 4)
    node.require(not node.has_output(1) and not node.has_output(2), "training outputs are not implemented")
    total = to.op("Add", node.input(0), node.input(1))
    if bias is not None:
        total = to.op("Add", total, bias)
    epsilon = node.float("epsilon", 1e-12)
    if simplified:
        result = to.op("RMSNormalization", total, gamma, epsilon=epsilon)
    else:
        result = to.op("LayerNormalization", total, gamma, beta, epsilon=epsilon)
    return [result, result, result, total]


@lowered("SimplifiedLayerNormalization", domain="")
def simplified_layer_normalization(node: Node, to: Standard) -> Value:
    """RMSNormalization, by the name that ONNX Runtime gave it in ONNX's own domain."""
    return to.op("RMSNormalization", *node.inputs, **node.others())
