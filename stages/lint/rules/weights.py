"""The quantizers of weights: type, zero point, and along which axis their scales run."""

from __future__ import annotations

from collections.abc import Iterator

from ....targets.base import Scheme
from ..operand import Operand
from ..quantizer import Quantizer
from ..reading import Reading
from ..rule import rule


@rule("weight-type", "weights in another integer type than the scheme's")
def weight_type(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime and OpenVINO leave such operators in float, TensorRT's parser refuses uint8 (tried)."""
    for quantizer, _ in _weights(reading):
        if quantizer.elem_type and quantizer.type_name != scheme.weight:
            yield quantizer.name, f"holds a weight of type {quantizer.type_name}; {scheme.weight} is wanted"


@rule("weight-zero-point", "weights with a zero point")
def weight_zero_point(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Every scheme's weights are symmetric; OpenVINO leaves others in float, TensorRT's parser refuses them (tried)."""
    for quantizer, _ in _weights(reading):
        if quantizer.shifted and quantizer.zero_point is not None:
            zero = quantizer.zero_point[quantizer.zero_point != 0].flat[0]
            yield quantizer.name, f"holds a weight with zero point {zero}; it must be 0"


@rule("weight-per-tensor", "one scale for a weight where one per output channel is wanted")
def weight_per_tensor(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """One scale for all channels costs accuracy and no runtime of ours is faster for it."""
    for quantizer, operand in _weights(reading):
        axis, shape = operand.channel_axis, operand.shape
        single = quantizer.scale is not None and quantizer.scales == 1 and not quantizer.blocked
        if scheme.per_channel and single and axis is not None and shape is not None and shape[axis] > 1:
            yield (
                quantizer.name,
                f"has one scale for the {shape[axis]} output channels of a weight; one for each is wanted",
            )


@rule("weight-axis", "weight scales along another axis than the output channels")
def weight_axis(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime takes such scales for the output channels' where the sizes allow it: wrong answers (tried)."""
    for quantizer, operand in _weights(reading):
        axis, shape = operand.channel_axis, operand.shape
        if quantizer.scales == 1 or quantizer.blocked or axis is None or shape is None:
            continue
        if quantizer.axis % len(shape) != axis:
            yield (
                quantizer.name,
                f"has scales along axis {quantizer.axis} of a weight whose output channels are axis {axis}; use that",
            )


def _weights(reading: Reading) -> Iterator[tuple[Quantizer, Operand]]:
    """The DQ nodes of weights, each with the first operator that computes with it."""
    seen: set[str] = set()
    for operand in reading.role("weight"):
        if operand.dequantizer is not None and operand.dequantizer.output not in seen:
            seen.add(operand.dequantizer.output)
            yield operand.dequantizer, operand
