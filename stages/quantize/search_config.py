"""Mixed-precision search settings: how assignments of precisions are compared."""

from __future__ import annotations

from pydantic import Field

from ...core.config import Config


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
