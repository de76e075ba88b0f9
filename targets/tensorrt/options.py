"""TensorRT options of a plan. Precision is not among them: it stands in the graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..base import TargetOptions


@dataclass(frozen=True, kw_only=True)
class PlanOptions(TargetOptions):
    """What both flavours know.

    Attributes:
        min_batch: smallest batch that the plan takes, 1 or more; smaller ones are padded. These three matter only where
            the ONNX file leaves the batch size free.
        opt_batch: the batch that kernels are chosen for.
        max_batch: largest batch; larger ones are split.
        workspace_mib: scratch memory a layer may take, in MiB; all of the GPU's when None.
        tf32: let float32 products round their inputs to 10 bits of mantissa, which is the library's own default.
        refittable: weights can be exchanged later. NVIDIA knows of such plans that lose a bias ("Refitting an Engine",
            TensorRT 11.3), so it is the plan itself that must be verified.
        strip_weights: leave out of the plan what can be had from the ONNX file, which is then kept beside it.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 32
    workspace_mib: int | None = None
    tf32: bool = False
    refittable: bool = False
    strip_weights: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(
                f"1 <= min_batch <= opt_batch <= max_batch must hold, "
                f"they are {self.min_batch}, {self.opt_batch}, {self.max_batch}"
            )
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ValueError(f"workspace_mib must be 1 or more, it is {self.workspace_mib}")


@dataclass(frozen=True, kw_only=True)
class TensorRtOptions(PlanOptions):
    """What TensorRT can be asked for.

    Attributes:
        optimization_level: 0 to 5; higher ones search longer for fast kernels (IBuilderConfig).
        timing_cache: a cache of kernel timings from an earlier build; with it the same kernels are chosen again, and
            one that was not timed then is an error. A build without it leaves its own beside the plan.
        timing_cache_sha256: that file's SHA-256; native code reads it, so another file is refused.
        hardware_compatibility: GPUs that the plan is for: `none`, only such as built it; `same_compute_capability` (not
            in 10.3) and `ampere_plus`, more of them, with slower kernels.
        version_compatible: later versions of TensorRT can load the plan; it then carries code for the host.
    """

    optimization_level: int = 3
    timing_cache: str | None = None
    timing_cache_sha256: str | None = None
    hardware_compatibility: Literal["none", "same_compute_capability", "ampere_plus"] = "none"
    version_compatible: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.optimization_level <= 5:
            raise ValueError(f"optimization_level must be 0 to 5, it is {self.optimization_level}")
        if (self.timing_cache is None) != (self.timing_cache_sha256 is None):
            raise ValueError("timing_cache and timing_cache_sha256 belong together")
        if self.timing_cache_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.timing_cache_sha256):
            raise ValueError(f"timing_cache_sha256 must be 64 hexadecimal digits, it is {self.timing_cache_sha256!r}")


@dataclass(frozen=True, kw_only=True)
class RtxOptions(PlanOptions):
    """What TensorRT for RTX can be asked for; timing caches and hardware compatibility mean nothing to it.

    Attributes:
        compute_capability: of the GPUs that the plan is for, as in `"8.9"`. None: 8.0 and above, which is what it
            builds by itself ("CPU-Only AOT and TensorRT-RTX Engines").
    """

    compute_capability: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compute_capability is not None and not re.fullmatch(r"\d+\.\d", self.compute_capability):
            raise ValueError(f"compute_capability must look like '8.9', it is {self.compute_capability!r}")
