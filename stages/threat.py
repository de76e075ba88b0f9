"""Threat model: norm and eps of what the attacker may do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from ..core.config import Config
from .eight_bit import STEPS
from .norms.base import Norm, NormName, norms


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


def radius_text(radius: float) -> str:
    """A radius as people write it, and as `parse_radius` reads it again: `0.1`, `8/255`."""
    plain = f"{radius:.4g}"
    steps = round(radius * STEPS)
    if math.isclose(float(plain), radius, rel_tol=1e-9) or not math.isclose(steps / STEPS, radius, rel_tol=1e-9):
        return plain
    return f"{steps}/{STEPS}"


def ball_text(threat: Mapping[str, Any]) -> str:
    """A threat model in words, from its fields `norm` and `eps`: `Linf eps 8/255`."""
    return f"{threat['norm']} eps {radius_text(threat['eps'])}"


Radius = Annotated[float, BeforeValidator(parse_radius)]


class ThreatModel(Config):
    """A norm ball of radius `eps` around each image, intersected with the pixel range [0, 1].

    `eps` is in (0, 1] for Linf and above 0 for L2; it is given as a number or a fraction (`8/255`).
    """

    norm: NormName = "Linf"
    eps: Radius

    @model_validator(mode="after")
    def _eps_in_range(self) -> ThreatModel:
        widest = self.geometry.widest
        if self.eps <= 0 or self.eps > widest:
            allowed = "above 0" if math.isinf(widest) else f"in (0, {widest:g}]"
            whole = widest == 1 and self.eps.is_integer() and 1 < self.eps < STEPS
            hint = f"; pixels are in [0, 1]: did you mean {self.eps:g}/{STEPS}?" if whole else ""
            raise ValueError(f"eps: must be {allowed} for {self.norm}, got {self.eps:g}{hint}")
        return self

    @property
    def geometry(self) -> Norm:
        """The norm itself: sizes, balls, directions."""
        return norms[self.norm]

    def of_radius(self, eps: float) -> ThreatModel:
        """The ball of another radius, which need not be one that a recipe may ask for."""
        return self.model_copy(update={"eps": eps})
