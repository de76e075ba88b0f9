"""float16 conversion: Casts at both ends, everything between in half precision."""

from __future__ import annotations

from pathlib import Path

import onnx

from ...core.errors import StageError, reason_of
from ...core.onnx_reader import read_onnx


def to_half(float_model: Path, path: Path) -> None:
    """Write the file with float16 weights and activations; images and logits stay float32.

    By ONNX Runtime's converter, which keeps operators in float32 that float16 does not have.

    Raises:
        StageError: it cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    try:
        model = convert_float_to_float16(read_onnx(float_model), keep_io_types=True)
        OnnxModel(model).topological_sort(is_deterministic=True)  # the converter puts its Casts at the end
        onnx.checker.check_model(model)
    except Exception as error:  # the converter's errors share no base class
        raise StageError(f"quantize: fp16: {reason_of(error)}") from error
    path.write_bytes(model.SerializeToString(deterministic=True))
