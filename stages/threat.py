"""What the attacker may do: the threat model of a run."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from ..core.config import Config

Norm = Literal["Linf", "L2"]


def parse_radius(value: Any) -> float:
    """Read a radius exactly: `"8/255"`, `"0.1"` or a number.

    Raises:
        ValueError: the value is no finite number or fraction.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a number or a fraction such as 8/255")
    try:
        radius = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a number or a fraction such as 8/255") from None
    if not math.isfinite(radius):
        raise ValueError("must be finite")
    return radius


Radius = Annotated[float, BeforeValidator(parse_radius)]


class ThreatModel(Config):
    """A norm ball of radius `eps` around each image, intersected with the pixel range [0, 1].

    `eps` is in (0, 1] for Linf and above 0 for L2; it is given as a number or a fraction (`8/255`).
    """

    norm: Norm = "Linf"
    eps: Radius

    @model_validator(mode="after")
    def _eps_in_range(self) -> ThreatModel:
        if self.eps <= 0 or (self.norm == "Linf" and self.eps > 1):
            allowed = "in (0, 1]" if self.norm == "Linf" else "above 0"
            raise ValueError(f"eps: must be {allowed} for {self.norm}, got {self.eps:g}")
        return self
