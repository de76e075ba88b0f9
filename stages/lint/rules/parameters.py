"""Scales and zero points as such, whatever they belong to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....targets.base import Scheme
from ..graph import attribute
from ..reading import Reading
from ..rule import rule


@rule("scale-value", "scales that are zero, negative, subnormal, NaN or infinite", "error")
def scale_value(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """TensorRT refuses scales of 0 or less, ExecuTorch subnormal ones; ONNX Runtime and OpenVINO misread (tried).

    Negative ones of blocks of a stored weight are read rightly: ONNX Runtime's own symmetric quantizer writes them.
    """
    seen: set[str] = set()
    for quantizer in reading.quantizers:
        name = quantizer.node.input[1]
        if quantizer.scale is None or name in seen:
            continue
        seen.add(name)
        values = np.asarray(quantizer.scale, np.float32)
        if quantizer.blocked and quantizer.constant:
            values = np.abs(values)
        wrong = values[~(np.isfinite(values) & (values >= np.finfo(np.float32).tiny))]
        if wrong.size:
            yield (
                quantizer.name,
                f"has scale {wrong.flat[0]:g} in {wrong.size} of {values.size} places; scales must be positive, normal "
                "and finite",
            )


@rule("scale-count", "another number of scales than the axis has places", "error")
def scale_count(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Compare scales and zero points with what is stored; ONNX wants one per place of the axis."""
    for quantizer in reading.quantizers:
        zeros = 1 if quantizer.zero_point is None else quantizer.zero_point.size
        if quantizer.given_zero_point and quantizer.zero_point is not None and zeros != quantizer.scales:
            yield quantizer.name, f"has {quantizer.scales} scales and {zeros} zero points; there must be as many"
            continue
        shape = reading.graph.shape(quantizer.data)
        if shape is None or quantizer.blocked or quantizer.scales == 1:
            continue
        if not -len(shape) <= quantizer.axis < len(shape):
            yield quantizer.name, f"has scales along axis {quantizer.axis} of a tensor of {len(shape)} dimensions"
        elif shape[quantizer.axis] != quantizer.scales:
            yield (
                quantizer.name,
                f"has {quantizer.scales} scales for the {shape[quantizer.axis]} places of axis {quantizer.axis}; "
                "there must be one for each",
            )


@rule("block-size", "blocks of scales that do not cover what they are for", "error")
def block_size(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """No runtime computes them (tried); ONNX wants ceil(D / block_size) scales along the axis, else one a place."""
    for quantizer in reading.quantizers:
        shape = reading.graph.shape(quantizer.data)
        if not quantizer.blocked or quantizer.scale is None or shape is None or None in shape:
            continue
        size, axis = attribute(quantizer.node, "block_size", 0), quantizer.axis
        if not -len(shape) <= axis < len(shape):
            yield quantizer.name, f"has blocks along axis {axis} of a tensor of {len(shape)} dimensions"
            continue
        wanted = list(shape)
        wanted[axis] = -(-wanted[axis] // size)
        if list(quantizer.scale.shape) != wanted:
            yield (
                quantizer.name,
                f"has scales {list(quantizer.scale.shape)} for blocks of {size} along axis {axis} of {list(shape)}; "
                f"they must be {wanted}",
            )


@rule("missing-zero-point", "quantizers without a zero point, which ONNX takes for uint8")
def missing_zero_point(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """TensorRT takes them for int8, and says nothing (tried)."""
    for quantizer in reading.quantizers:
        if (
            quantizer.kind == "Q"
            and not quantizer.given_zero_point
            and not attribute(quantizer.node, "output_dtype", 0)
        ):
            want = scheme.weight if quantizer.constant else scheme.activation
            yield (
                quantizer.name,
                f"has no zero point, which ONNX takes for uint8 and TensorRT for int8; write one of type {want}",
            )


@rule("dynamic-parameter", "scales or zero points that are computed from an input")
def dynamic_parameter(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Runtimes fuse only pairs whose parameters they know beforehand."""
    for quantizer in reading.quantizers:
        if quantizer.kind == "Q" and not quantizer.constant_parameters:
            yield quantizer.name, "computes its scale or zero point from an input; both must be constants"
