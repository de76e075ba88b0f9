"""int8 precision: integers in the target's scheme, 8 bits or the fewer that the recipe says."""

from __future__ import annotations

from collections.abc import Collection

from ....targets.base import Scheme
from .base import Job, Precision, precisions

_OPERATORS = {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}


class Int8(Precision):
    """Integer weights and activations in the target's scheme, by calibration; 4 bits where the recipe says so."""

    name = "int8"
    integers = True
    rank = 1

    def make(self, job: Job) -> None:
        """Insert quantizers with ranges from the calibration images, of which `calibration.json` tells."""
        from ..calibration import calibrate
        from ..qdq import quantize_onnx

        images = calibrate(job)
        quantize_onnx(job.float_model, job.path, job.scheme, images, job.calibration)
        job.describe(self.label(job.scheme))

    def label(self, scheme: Scheme) -> str:
        """`int8`, `w4a8` or `w4a4`."""
        return f"w4a{scheme.activation_bits}" if scheme.weight == "int4" else self.name

    def describes(self, operators: Collection[str], types: Collection[int]) -> bool:
        """Whether anything is computed in integers, or quantized."""
        return bool(_OPERATORS.intersection(operators))


precisions.register("int8")(Int8())
