"""The quantizers of activations: type, zero point, one scale."""

from __future__ import annotations

from collections.abc import Iterator

from ....targets.base import Scheme
from ..reading import Reading
from ..rule import rule

# ONNX numbers of the 8-bit floats.
_FLOAT8 = {17, 18, 19, 20}


@rule("activation-type", "activations in another integer type than the scheme's")
def activation_type(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """TensorRT reads uint8 as int8 with no more than a warning (tried)."""
    for quantizer in reading.activations:
        typed = quantizer.given_zero_point or quantizer.kind == "DQ"  # a missing zero point has a rule of its own
        if typed and quantizer.elem_type and quantizer.type_name != scheme.activation:
            clipped = ", and int8 in its place clips at half of the range" if quantizer.type_name == "uint8" else ""
            yield (
                quantizer.name,
                f"quantizes an activation to {quantizer.type_name}; {scheme.activation} is wanted{clipped}",
            )


@rule("activation-zero-point", "zero points that a symmetric scheme does not have")
def activation_zero_point(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Weights and biases have rules of their own; constants of other operators count as activations."""
    if not scheme.activation_symmetric:
        return
    middle = 128 if scheme.activation == "uint8" else 0
    stored = {id(operand.dequantizer) for operand in reading.operands if operand.role != "activation"}
    constants = [one for one in reading.quantizers if one.kind == "DQ" and one.constant and id(one) not in stored]
    for quantizer in [*reading.activations, *constants]:
        zero = quantizer.zero_point
        if zero is not None and (zero != middle).any() and quantizer.given_zero_point:
            yield (
                quantizer.name,
                f"has zero point {int(zero[zero != middle].flat[0])}; the scheme is symmetric, so it must be {middle}",
            )


@rule("activation-per-channel", "activations with more than one scale")
def activation_per_channel(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Integer kernels have one scale for an activation; ONNX Runtime leaves such an operator in float (tried)."""
    for quantizer in reading.activations:
        if quantizer.scales > 1 or quantizer.blocked:
            yield quantizer.name, f"has {quantizer.scales} scales for an activation; one for the whole tensor is wanted"


@rule("float8-activation", "activations of convolutions in 8-bit floats")
def float8_activation(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime computes them wrongly from ORT_ENABLE_EXTENDED on, without a word (tried: 0.98 became 0.53)."""
    for quantizer in reading.activations:
        if quantizer.elem_type not in _FLOAT8:
            continue
        readers = [node for each in reading.dequantizers_of(quantizer) for _, node in reading.graph.users(each.output)]
        if any(node.op_type == "Conv" for node in readers):
            yield quantizer.name, "quantizes what a Conv reads to an 8-bit float; keep it in float, or use integers"
