"""Reference bits: the run's own, as a device's are held against them."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UsageError
from ..store.sample_bits import NO_ROUTE, read_columns
from .device.outcome import DeviceBits


def run_bits(path: Path) -> DeviceBits:
    """Read `verification/<subject>.npz` of a run.

    Raises:
        UsageError: it is missing or broken, or holds no attack's bits.
    """
    arrays = read_columns(path)
    routes = [key for key in arrays if key not in NO_ROUTE]
    if not routes:
        raise UsageError(f"{path}: holds no attack's bits")
    return DeviceBits(arrays["index"], arrays["clean_correct"], arrays[routes[-1]], arrays.get("robust_8bit"))
