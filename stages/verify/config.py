"""Attack budget: the recipe's `verify` section."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ...core.config import Config
from ..twin import BackwardMode
from .effort import STANDARD
from .measures.corruption_accuracy import CorruptionsConfig
from .measures.curve_config import CurveConfig
from .routes.base import routes

RouteName = Annotated[str, AfterValidator(routes.check)]


class VerifyConfig(Config):
    """What `verify` runs.

    Attributes:
        samples: how many test images (a seeded draw); all when left out.
        seed: seeds the draw and the attacks.
        routes: the routes against an engine, in this order, each on the survivors of the one before.
        attacks: the attacks against the teacher and the student (AutoAttack standard), likewise.
        backward: the twin's gradients that the white-box route goes through; `smooth` beside others only where
            activations have fewer than 8 bits.
        square_queries: budget of the black-box attack, and of the probe's search where a shorter one finds something or
            activations have fewer than 8 bits.
        hard_label_iterations: of the attack on a subject that answers with labels alone.
        strong_restarts: restarts of the stronger white box that a suspicious result triggers.
        shard_size: samples a unit of work, at most; a finished shard survives a kill. When left out 150, or as many as
            have 16,384 pixels together.
        isolate: run engines in a process of their own, where a crash or a hang costs a sample and not the run; small
            networks answer sooner without.
        corruptions: the common corruptions under which accuracy is measured besides; none where left out.
        packs: of earlier runs, `adversarial/<subject>.npz`; their examples are replayed on every subject.
        curve: at which other radii accuracy is measured besides; null for none. A sequential run has none.
    """

    samples: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    routes: tuple[RouteName, ...] = STANDARD["routes"]
    attacks: tuple[RouteName, ...] = STANDARD["attacks"]
    backward: tuple[BackwardMode, ...] = Field(default=STANDARD["backward"], min_length=1)
    square_queries: int = Field(default=STANDARD["square_queries"], ge=1)
    hard_label_iterations: int = Field(default=STANDARD["hard_label_iterations"], ge=1)
    strong_restarts: int = Field(default=STANDARD["strong_restarts"], ge=1)
    shard_size: int | None = Field(default=None, ge=1)
    isolate: bool = True
    corruptions: CorruptionsConfig | None = None
    packs: tuple[Path, ...] = ()
    curve: CurveConfig | None = CurveConfig()

    def of_attacks(self) -> dict[str, Any]:
        """What the attacks depend on, as JSON-able data: all but what is measured besides, and files."""
        return self.model_dump(mode="json", exclude={"corruptions", "curve", "packs"})


def default_workers() -> int:
    """One process a core, one thread each."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
