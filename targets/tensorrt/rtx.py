"""TensorRT for RTX: the same API, for GeForce and RTX GPUs; it builds plans where there is no GPU."""

from __future__ import annotations

from typing import Any, cast

from ...core.errors import BackendMissing, StageError, UsageError
from ..base import Availability
from ..gpu import gpu_here
from ..on_device import OnDevice
from ..schemes import SCHEMES
from .api import BuilderConfig, RtxBuilderConfig
from .library import Library, rtx_library
from .options import RtxOptions
from .target import PlanTarget


class TensorRtRtx(PlanTarget):
    """TensorRT for RTX: plans are built ahead of time, and finished by the GPU that runs them."""

    name = "tensorrt_rtx"
    scheme = SCHEMES["tensorrt_rtx"]
    options = RtxOptions
    on_device = OnDevice(
        by_hand="`pip install numpy typer onnx tensorrt-rtx-cu13-bindings onnxruntime-ep-nv-tensorrt-rtx-cu13`, "
        "and torch with CUDA",
        portable=False,
    )
    extra = "tensorrt-rtx"
    keeps_timings = False

    def available(self) -> Availability:
        """Available where its packages import and there is a GPU; it builds without one."""
        try:
            library = self._library()
        except BackendMissing as error:
            return Availability(False, str(error).partition(": ")[2])
        versions = library.distributions
        if gpu_here() is None:
            return Availability(
                False, f"{self._no_gpu(library)}; it builds engines without one, and runs them with one", versions, True
            )
        return Availability(True, versions=versions, builds=True)

    def _import(self) -> Library:
        return rtx_library()

    def _check(self, options: Any) -> None:
        # Tried without a driver: its code generator fails ("CHECK(status == CUDA_SUCCESS) failed").
        if (options.refittable or options.strip_weights) and gpu_here() is None:
            raise BackendMissing(
                f"target {self.name!r}: refittable and stripped plans are built with an NVIDIA GPU only, and there is "
                "none here"
            )

    def _configure(self, library: Library, config: BuilderConfig, options: RtxOptions) -> None:
        if options.compute_capability is None:
            return
        known = cast(Any, library.api).ComputeCapability
        name = f"SM{options.compute_capability.replace('.', '')}"
        if not hasattr(known, name):
            every = ", ".join(_dotted(each) for each in known.__members__ if each.startswith("SM"))
            raise UsageError(
                f"{library.title} {library.version} builds for no GPUs of compute capability "
                f"{options.compute_capability}, only for {every}"
            )
        special = cast(RtxBuilderConfig, config)
        special.num_compute_capabilities = 1
        if not special.set_compute_capability(getattr(known, name), 0):
            raise StageError(f"{library.title} does not take compute capability {options.compute_capability}")


def _dotted(name: str) -> str:
    digits = name.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}"
