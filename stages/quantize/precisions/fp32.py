"""fp32 precision: the float file as it is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from .base import FloatPrecision, Job, precisions


class Fp32(FloatPrecision):
    """The float graph, shipped as it is."""

    name = "fp32"
    exact = True
    rank = 1000

    def convert(self, float_model: Path, path: Path) -> None:
        """Copy the file."""
        path.write_bytes(float_model.read_bytes())

    def make(self, job: Job) -> None:
        """Copy the file and add nothing: its digest stays."""
        self.convert(job.float_model, job.path)

    def describes(self, operators: Collection[str], types: Collection[int]) -> bool:
        """Whatever is nothing else."""
        return True


precisions.register("fp32")(Fp32())
