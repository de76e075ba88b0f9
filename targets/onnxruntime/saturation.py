"""INT8 saturation (no VNNI): whether this machine's fast int8 kernels add up exactly."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...core.wire import field

_DEPTH, _WIDTH = 64, 16
_UINT8, _INT8, _INT32 = 2, 3, 6  # of TensorProto.DataType


@cache
def sums_saturate() -> bool:
    """Whether ONNX Runtime's kernels for unsigned activations and signed weights lose sums here.

    x86 without VNNI adds pairs of products in 16 bits, which saturate (onnxruntime.ai, "Quantize ONNX models", "When
    and why do I need to try U8U8"). Asked of the runtime itself, with the largest products there are, because no flag
    of the processor says which kernel it takes.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(product_model(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"a": np.full((1, _DEPTH), 255, np.uint8)})
    return bool((np.asarray(sums) != _DEPTH * 255 * 127).any())


def product_model() -> bytes:
    """An ONNX file of one MatMulInteger with the largest weights there are, made without `onnx`.

    `a`: uint8 `[1, 64]`, weights `b`: int8 `[64, 16]`, `y`: int32 `[1, 16]`.
    """
    node = field(1, b"a") + field(1, b"b") + field(2, b"y") + field(4, b"MatMulInteger")
    weights = field(1, _DEPTH) + field(1, _WIDTH) + field(2, _INT8) + field(8, b"b")
    weights += field(9, b"\x7f" * _DEPTH * _WIDTH)
    graph = field(1, node) + field(2, b"sums") + field(5, weights)
    graph += field(11, _value(b"a", _UINT8, _DEPTH)) + field(12, _value(b"y", _INT32, _WIDTH))
    opset = field(1, b"") + field(2, 13)
    return field(1, 8) + field(7, graph) + field(8, opset)


def _value(name: bytes, kind: int, width: int) -> bytes:
    shape = b"".join(field(1, field(1, size)) for size in (1, width))
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))
