"""Biases: float, or int32 in the unit of the products they are added to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....targets.base import Scheme
from ..graph import label
from ..operand import Operand
from ..quantizer import Quantizer
from ..reading import Reading
from ..rule import rule

# What float32 products of scales may differ by, wherever they were computed.
_TOLERANCE = 1e-4


@rule("int32-bias", "int32 DequantizeLinear where biases must be float")
def int32_bias(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """TensorRT's parser: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8 (tried)."""
    if not scheme.quantize_bias:
        for quantizer in reading.quantizers:
            if quantizer.kind == "DQ" and quantizer.type_name == "int32":
                yield quantizer.name, "dequantizes an int32 tensor; biases must be stored in float"


@rule("float-bias", "float biases of quantized operators where int32 is wanted")
def float_bias(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime quantizes them on loading from 1.21 on; before that it left the operator in float."""
    for operand in reading.role("bias") if scheme.quantize_bias else ():
        if operand.dequantizer is None and _in_integers(reading, operand) and reading.graph.is_constant(operand.source):
            yield (
                label(operand.operator),
                "has a float bias, with which ONNX Runtime before 1.21 runs it in float; an int32 bias behind a "
                "DequantizeLinear is wanted",
            )


@rule("bias-type", "biases in another integer type than int32")
def bias_type(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Eight bits cost accuracy for nothing: accumulators have 32."""
    for operand in reading.role("bias"):
        quantizer = operand.dequantizer
        if quantizer is not None and quantizer.elem_type and quantizer.type_name != "int32":
            want = "int32" if scheme.quantize_bias else "float"
            yield quantizer.name, f"dequantizes a bias of type {quantizer.type_name}; {want} is wanted"


@rule("bias-scale", "int32 biases in another unit than activation scale times weight scale")
def bias_scale(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """A QLinearConv has no scale for its bias; ONNX Runtime leaves the operator in float then (tried)."""
    for operand in reading.role("bias") if scheme.quantize_bias else ():
        quantizer = operand.dequantizer
        if quantizer is None or quantizer.type_name != "int32" or not _in_integers(reading, operand):
            continue
        unit = _unit(reading, operand)
        if unit is not None and not _is(quantizer, unit):
            yield (
                quantizer.name,
                "holds a bias that is not in units of activation scale × weight scale, with zero point 0; quantize it",
            )


def _in_integers(reading: Reading, operand: Operand) -> bool:
    return operand.operator.output[0] in reading.integer_operators


def _unit(reading: Reading, bias: Operand) -> np.ndarray | None:
    """Activation scale times weight scale of a bias's operator."""
    scales = [
        operand.dequantizer.scale
        for operand in reading.operands
        if operand.operator is bias.operator and operand.role != "bias" and operand.dequantizer is not None
    ]
    first, second = scales if len(scales) == 2 else (None, None)
    return None if first is None or second is None else np.asarray(first * second).ravel()


def _is(quantizer: Quantizer, unit: np.ndarray) -> bool:
    if quantizer.scale is None:
        return True
    fits = quantizer.scales == unit.size or 1 in (quantizer.scales, unit.size)
    return fits and not quantizer.shifted and np.allclose(quantizer.scale.ravel(), unit, rtol=_TOLERANCE, atol=0)
