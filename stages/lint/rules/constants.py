"""Stored tensors: readable, and of finite numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....core.onnx_walk import tensors
from ....targets.base import Scheme
from ..graph import read_tensor
from ..reading import Reading
from ..rule import rule


@rule("unreadable-constant", "tensors whose data do not fit their shape", "error", quantized_only=False)
def unreadable_constant(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Try to read every stored tensor."""
    for name, tensor in tensors(reading.graph.model):
        if not tensor.external_data and read_tensor(tensor) is None:
            yield name, f"holds other data than its type and shape {list(tensor.dims)} ask for; export it again"


@rule("not-a-number", "NaN constants, and infinite weights or biases", "error", quantized_only=False)
def not_a_number(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime makes numbers of them when it quantizes (tried); TensorRT and OpenVINO build without a word."""
    stored = _weights(reading)
    for name, values in _floats(reading):
        if np.isnan(values).any():
            yield (
                name,
                f"holds NaN in {int(np.isnan(values).sum())} of {values.size} values; every constant must be finite",
            )
        elif name in stored and np.isinf(values).any():
            yield name, f"is infinite in {int(np.isinf(values).sum())} of {values.size} values; a weight must be finite"


@rule("infinite-constant", "infinite constants that are no weights", quantized_only=False)
def infinite_constant(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Look for masks of minus infinity and for bounds that bound nothing."""
    stored = _weights(reading)
    for name, values in _floats(reading):
        if name not in stored and not np.isnan(values).any() and np.isinf(values).any():
            yield (
                name,
                "is infinite in places, which becomes NaN as soon as it is subtracted or multiplied; "
                "a large finite number masks as well",
            )


def _floats(reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
    """Stored tensors of floating-point numbers; scales have a rule of their own."""
    scales = {quantizer.node.input[1] for quantizer in reading.quantizers}
    for name, tensor in tensors(reading.graph.model):
        values = None if name in scales else read_tensor(tensor)
        if values is None or values.dtype.kind in "iubOSU":
            continue
        yield name, values if values.dtype.kind == "f" else values.astype(np.float32)


def _weights(reading: Reading) -> set[str]:
    """Names of what is stored for convolutions, matrix products and quantizers."""
    names = {operand.source for operand in reading.operands}
    return names | {quantizer.data for quantizer in reading.quantizers}
