"""Training context: where, on what hardware, and who is told; it does not change what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .history import Epoch


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: the current epoch, from 1.
        epochs: how many there are.
        step: steps done in this epoch.
        steps: steps of an epoch.
        images_per_second: over the last steps, all processes together.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_second: float


@dataclass(frozen=True)
class TrainingContext:
    """The conditions of a training.

    Attributes:
        folder: where its weights, metrics and snapshot go after every epoch, and where a snapshot is looked for.
        accelerator: Fabric's: `auto`, `cpu`, `cuda`.
        devices: processes on this machine, one a device.
        num_nodes: machines; each runs the same command, under torchrun, SLURM or with the node's rank set.
        on_step: told after every step.
        on_epoch: told after every epoch.
        notice: told what people should know.
    """

    folder: Path | None = None
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    on_step: Callable[[Progress], None] = lambda _: None
    on_epoch: Callable[[Epoch], None] = lambda _: None
    notice: Callable[[str], None] = lambda _: None
