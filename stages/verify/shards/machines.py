"""Distributed attack: the machines that share shards, through Lightning Fabric; a single one is the identity."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ....core.errors import StageError, reason_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Item = TypeVar("Item")


class Machines:
    """One machine among those that share the work.

    Args:
        fabric: a launched Fabric of one process a machine; None where this one is alone.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._fabric = fabric
        self._rank, self._world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)

    @classmethod
    def launched(cls, count: int) -> Machines:
        """Join the other machines, which run the same command, as the environment tells (torchrun, SLURM, Fabric's).

        Args:
            count: how many there are; one alone joins nobody.

        Raises:
            StageError: they do not meet.
        """
        if count == 1:
            return cls()
        from lightning_fabric import Fabric

        # Its greetings would break into progress bars and --json.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(accelerator="cpu", devices=1, num_nodes=count, strategy="ddp")
        try:
            fabric.launch()
        except (RuntimeError, ValueError) as error:  # torch's own, as of a rank or an address that is taken
            raise StageError(f"--num-nodes {count}: the machines did not meet: {reason_of(error)}") from error
        return cls(fabric)

    @property
    def leads(self) -> bool:
        """Whether this is the machine that writes results."""
        return self._rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this machine's share of items that all see in the same order."""
        return items[self._rank :: self._world]

    def meet(self) -> None:
        """Wait until all machines have come here."""
        if self._fabric is not None:
            self._fabric.barrier()


ALONE = Machines()
