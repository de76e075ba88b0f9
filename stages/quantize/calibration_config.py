"""Calibration settings: how activation ranges are found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
