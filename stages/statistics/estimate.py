"""Point estimate with its confidence interval, and how both stand in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .proportions import clopper_pearson


@dataclass(frozen=True)
class Estimate:
    """A value, and its interval (low, high); None where no interval holds."""

    value: float
    interval: tuple[float, float] | None = None

    @classmethod
    def of_share(cls, successes: float, samples: int) -> Estimate:
        """A share of samples, above 0 of them, with its Clopper-Pearson interval."""
        return cls(float(successes / samples), clopper_pearson(successes, samples))

    def as_json(self, name: str) -> dict[str, Any]:
        """`{name: value, name_ci: [low, high]}`."""
        return {name: self.value, f"{name}_ci": None if self.interval is None else list(self.interval)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str) -> Estimate | None:
        """Read what `as_json` wrote; None where there is no such value."""
        if data.get(name) is None:
            return None
        ends = data.get(f"{name}_ci")
        return cls(data[name], None if ends is None else (ends[0], ends[1]))
