"""Plan compatibility: one kind of GPU, one version of the library."""

from __future__ import annotations

from ...gpu import Gpu
from ..options import PlanOptions, RtxOptions, TensorRtOptions
from .record import Sheet

# The oldest that hardware-compatible plans, and RTX plans that name none, are for.
_AMPERE = (8, 0)


def wrong_version(sheet: Sheet, options: PlanOptions, title: str, here: str) -> str | None:
    """Say why the library here cannot load a plan, or None.

    Plans of TensorRT need the version that built them, or a later one where they were built version compatible; plans
    of TensorRT for RTX need theirs always ("Engine Compatibility" in either's documentation).
    """
    later = isinstance(options, TensorRtOptions) and options.version_compatible
    if sheet.version == here or (later and _numbers(sheet.version) <= _numbers(here)):
        return None
    return f"built by {title} {sheet.version}, here is {here}"


def wrong_gpu(sheet: Sheet, options: PlanOptions, here: Gpu) -> str | None:
    """Say why a plan cannot run on a GPU, or None."""
    if isinstance(options, RtxOptions):
        wanted = options.compute_capability
        if wanted is None and _numbers(here.compute_capability) < _AMPERE:
            return f"built for GPUs of compute capability 8.0 and above, here is {here}"
        if wanted is not None and wanted != here.compute_capability:
            return f"built for GPUs of compute capability {wanted}, here is {here}"
        return None
    level = options.hardware_compatibility if isinstance(options, TensorRtOptions) else "none"
    if sheet.gpu is None:
        return f"built on an unknown GPU, here is {here}"
    fits = {
        "none": here == sheet.gpu,
        "same_compute_capability": here.compute_capability == sheet.gpu.compute_capability,
        "ampere_plus": _numbers(here.compute_capability) >= _AMPERE,
    }[level]
    return None if fits else f"built on {sheet.gpu}, here is {here}"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
