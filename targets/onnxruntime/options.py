"""ONNX Runtime options: execution provider, and what may go elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import BackendMissing, StageError
from ..base import TargetOptions

if TYPE_CHECKING:
    import onnxruntime

Level = Literal["none", "basic", "extended", "all"]
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_LEVELS = {"none": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeOptions(TargetOptions):
    """Options of target `onnxruntime`.

    Attributes:
        provider: the execution provider that runs the graph.
        optimisation: how far the runtime rewrites the graph; `none` computes it node by node.
        deterministic: only kernels that add up in the same order every time.
        fallback: whether nodes that the provider does not take may run on another one; without it they are an error.
    """

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    optimisation: Level = "all"
    deterministic: bool = False
    fallback: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether the graph runs on an NVIDIA GPU."""
        return self.provider != "cpu"


def providers(options: OnnxRuntimeOptions, path: Path) -> list[Any]:
    """The execution providers to ask for, the wanted one first, each with its settings.

    Raises:
        BackendMissing: this build of ONNX Runtime does not have it.
    """
    import onnxruntime

    wanted, here = PROVIDERS[options.provider], onnxruntime.get_available_providers()
    if wanted not in here:
        raise BackendMissing(
            f"target 'onnxruntime': this build has no {wanted} (it has: {', '.join(here)}); "
            "install onnxruntime-gpu in place of onnxruntime"
        )
    # TF32 would round floats to 10 bits: another function than the file's. cuDNN's search takes what was fastest at
    # that moment; its default is the same every time.
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"})
    if options.provider == "cpu":
        return [wanted]
    if options.provider == "cuda":
        return [cuda]
    # The provider takes explicit Q/DQ pairs only with int8 allowed, and wants a calibration table where there are none.
    quantized = b"DequantizeLinear" in path.read_bytes()
    tensorrt = (wanted, {"trt_int8_enable": str(int(quantized)), "trt_engine_cache_enable": "0"})
    return [tensorrt, cuda] if options.fallback else [tensorrt]


def session_options(options: OnnxRuntimeOptions, threads: int) -> onnxruntime.SessionOptions:
    """Settings of a session."""
    import onnxruntime

    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads = threads
    found.inter_op_num_threads = 1
    found.log_severity_level = 4  # what it says of errors it raises as well
    found.use_deterministic_compute = options.deterministic
    level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{_LEVELS[options.optimisation]}")
    found.graph_optimization_level = level
    if options.on_gpu:
        found.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return found


def check_placement(session: onnxruntime.InferenceSession, options: OnnxRuntimeOptions, path: Path) -> tuple[str, ...]:
    """Read where every node of a session runs; return a note on those that fell back, where that is allowed.

    Raises:
        BackendMissing: the provider did not start: the runtime goes on without it and says so only in its log.
        StageError: nodes fell back, and that is not allowed; some are named.
    """
    wanted = PROVIDERS[options.provider]
    if wanted not in session.get_providers():
        raise BackendMissing(
            f"target 'onnxruntime': {wanted} does not start here; its CUDA libraries, a driver or a GPU are missing"
        )
    parts = session.get_provider_graph_assignment_info()
    nodes = sum(len(part.get_nodes()) for part in parts)
    fallen = [(part.ep_name, node) for part in parts if part.ep_name != wanted for node in part.get_nodes()]
    if not fallen:
        return ()
    told = f"{wanted} does not take {len(fallen)} of {nodes} nodes: " + _listed(
        f"{node.name or 'unnamed'} ({node.op_type}, on {provider})" for provider, node in fallen
    )
    if not options.fallback:
        raise StageError(f"{path}: {told}; the option fallback lets them run there")
    return (told,)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
