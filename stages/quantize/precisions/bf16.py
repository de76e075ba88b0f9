"""bf16 precision: bfloat16, floats of float32's range and fewer digits."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from .base import FloatPrecision, precisions


class Bf16(FloatPrecision):
    """Weights and activations in bfloat16, which ONNX Runtime does not have on CPUs."""

    name = "bf16"
    rank = 3

    def convert(self, float_model: Path, path: Path) -> None:
        """Convert the file; images and logits stay float32."""
        from ..bfloat import to_bfloat16

        to_bfloat16(float_model, path)

    def describes(self, operators: Collection[str], types: Collection[int]) -> bool:
        """Whether any weight is a bfloat16."""
        from onnx import TensorProto

        return TensorProto.BFLOAT16 in types


precisions.register("bf16")(Bf16())
