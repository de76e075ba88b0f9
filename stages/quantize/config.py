"""Quantization settings: the recipe's `quantize` section."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ...core.config import Config
from .calibration_config import CalibrationConfig
from .precisions.base import PrecisionName
from .search_config import SearchConfig


class QuantizeConfig(Config):
    """How the student is quantized.

    Attributes:
        precision: `int8`; `fp16` or `bf16` (weights and activations; images and logits stay float32; ONNX Runtime has
            no bf16 on CPUs); `fp32` to ship the float graph as it is; `mixed`: int8, but for the layers that robustness
            needs in float; `auto`: whichever of int8, mixed, fp16 and fp32 is fastest here and good enough on the
            validation split.
        weight_bits: 8, or 4: a model file of an eighth of the float one's size.
        activation_bits: 8, or 4, which needs `weight_bits: 4`; images and logits keep 8 (Esser et al., "Learned Step
            Size Quantization", ICLR 2020, leaves first and last layer so).
        per_channel: one weight scale per output channel; null leaves it to the target's scheme.
        calibration: how activation ranges are found.
        search: how `mixed` and `auto` choose.
    """

    precision: PrecisionName = "int8"
    weight_bits: Literal[4, 8] = 8
    activation_bits: Literal[4, 8] = 8
    per_channel: bool | None = None
    calibration: CalibrationConfig = CalibrationConfig()
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _check_bits(self) -> Self:
        if self.activation_bits == 4 and self.weight_bits == 8:
            raise ValueError("activation_bits: 4 needs weight_bits: 4")
        return self
