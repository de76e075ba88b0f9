"""Data-parallel processes: each one's part of a batch, and what they tell each other."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .context import TrainingContext

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(config: TrainConfig, running: TrainingContext) -> Fabric:
    """Return a launched Fabric: a single process, or data parallel over the asked-for ones."""
    from lightning_fabric import Fabric  # it imports torch's compiler: over a second that only training needs

    # Its greetings would break into progress bars and --json.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    world = running.devices * running.num_nodes
    # torchrun and SLURM say themselves how many there are.
    world = max(world, int(os.environ.get("WORLD_SIZE", "1")))
    fabric = Fabric(
        accelerator=running.accelerator,
        devices=running.devices,
        num_nodes=running.num_nodes,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16-mixed" else "32-true",
    )
    fabric.launch()
    return fabric


class Processes:
    """One process among those that share every batch; in a single process all of it is the identity.

    Args:
        fabric: the launched Fabric.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.world = fabric.world_size

    def part(self, batch: Tensor) -> Tensor:
        """Return this process's rows of a global batch."""
        return batch.tensor_split(self.world)[self._fabric.global_rank]

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over all processes."""
        return value if self.world == 1 else self._fabric.all_reduce(value.clone(), reduce_op="sum")  # type: ignore[return-value]

    def gather(self, values: Tensor) -> Tensor:
        """Return all processes' `[N]` values in one tensor; N may differ by process."""
        if self.world == 1:
            return values
        values = values.detach()
        lengths = self._fabric.all_gather(torch.tensor(len(values), device=values.device))
        assert isinstance(lengths, Tensor)
        longest = int(lengths.max())
        padded = torch.cat([values, values.new_zeros(longest - len(values))])
        rows = self._fabric.all_gather(padded)
        assert isinstance(rows, Tensor)
        return torch.cat([row[: int(length)] for row, length in zip(rows, lengths, strict=True)])

    def synchronised(self, model: nn.Module) -> nn.Module:
        """Return the model with BatchNorm over the global batch, where the devices can (they cannot on a CPU)."""
        if self.world > 1 and self._fabric.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model
