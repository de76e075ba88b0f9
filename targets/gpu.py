"""CUDA device and compute capability: the GPU of this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A GPU model.

    Attributes:
        name: as the driver calls it.
        compute_capability: as in `"8.9"`.
    """

    name: str
    compute_capability: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


def gpu_here() -> Gpu | None:
    """The GPU that torch would use, if there is one."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return Gpu(torch.cuda.get_device_name(), f"{major}.{minor}")


def gpu_name() -> str | None:
    """The GPU that an engine built here is tied to, as text; None where there is none."""
    gpu = gpu_here()
    return None if gpu is None else str(gpu)
