"""How the student is quantized."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ...core.config import Config


class CalibrationConfig(Config):
    """How activation ranges are found.

    Attributes:
        samples: how many images of the training split.
        seed: which ones.
        images: `clean`, `adversarial` (PGD on the float model), or `mix`: the first half of them clean.
        method: `minmax`; `percentile` and `entropy` clip outliers (ONNX Runtime's calibrators); `mse` clips where the
            squared error of the rounded values is least.
        percentile: the share of values that `percentile` keeps, in percent.
        steps: of PGD.
    """

    samples: int = Field(default=256, ge=1)
    seed: int = Field(default=0, ge=0)
    images: Literal["clean", "adversarial", "mix"] = "clean"
    method: Literal["minmax", "percentile", "entropy", "mse"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    steps: int = Field(default=10, ge=1)


class SearchConfig(Config):
    """How `mixed` and `auto` compare assignments; never on the test images.

    Attributes:
        samples: validation images that are attacked; all when they are fewer.
        steps: of PGD, on the float model and on every candidate.
        seed: of its starts.
        retention: the least retention on them that is good enough, where the recipe has no such gate.
        batch: batch size of the latency that is compared.
    """

    samples: int = Field(default=500, ge=1)
    steps: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0)
    retention: float = Field(default=0.99, gt=0)
    batch: int = Field(default=1, ge=1)


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

    precision: Literal["int8", "fp16", "bf16", "fp32", "mixed", "auto"] = "int8"
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
