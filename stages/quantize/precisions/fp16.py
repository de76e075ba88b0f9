"""fp16 precision: half-precision floats."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from .base import FloatPrecision, precisions


class Fp16(FloatPrecision):
    """Weights and activations in half precision."""

    name = "fp16"
    rank = 2

    def convert(self, float_model: Path, path: Path) -> None:
        """Convert the file; images and logits stay float32."""
        from ..half import to_half

        to_half(float_model, path)

    def describes(self, operators: Collection[str], types: Collection[int]) -> bool:
        """Whether any weight is a half-precision float."""
        from onnx import TensorProto

        return TensorProto.FLOAT16 in types


precisions.register("fp16")(Fp16())
