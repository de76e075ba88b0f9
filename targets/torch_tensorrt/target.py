"""Torch-TensorRT: the quantized graph as a torch program, compiled into exactly one TensorRT engine.

Written against Torch-TensorRT 2.14.0 and ModelOpt 0.47.0; never run on NVIDIA hardware.
"""

# Not installed where types are checked: this module would be taken for the package of its name.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import EdgeproofError, StageError, reason_of
from ..base import Availability, Engine, EngineFile, Images, Logits, Target, TargetOptions
from ..gpu import gpu_name
from ..on_device import OnDevice
from ..schemes import SCHEMES
from ..signature import ModelSignature, Value, checked_signature, read_signature
from ..torch_program import PROGRAMS, exported, torch_program
from .quantize_op import rewrite

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

NAME = "Torch-TensorRT"
PROGRAM = "model.pt2"
CACHE = "engine_cache"
# What brings the libraries of TensorRT, by NVIDIA's names and the package index's.
_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
_INSTALL = "pip install 'edgeproof[torch-tensorrt]', with TensorRT's libraries from NVIDIA"


@dataclass(frozen=True, kw_only=True)
class TorchTensorRTOptions(TargetOptions):
    """How an engine is compiled.

    Attributes:
        batch: the largest batch; larger ones are split.
        best_batch: the batch that kernels are chosen for.
        refittable: weights can be replaced in the engine, at some cost in speed. Torch-TensorRT 2.14 caches only such
            engines ("The engine weights are immutable, so the engine will not be cached").
    """

    batch: int = 32
    best_batch: int = 1
    refittable: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.best_batch <= self.batch:
            raise ValueError(f"best_batch is {self.best_batch}, 1 to batch ({self.batch}) is possible")


class TorchTensorRTEngine(Engine):
    """A compiled program on the first GPU.

    Attributes:
        capacity: the largest batch of one call.
    """

    def __init__(self, module: nn.Module, signature: ModelSignature, capacity: int) -> None:
        super().__init__(signature)
        self.capacity = capacity
        self._module = module

    def _run(self, images: Images) -> Logits:
        import torch

        parts = []
        with torch.inference_mode():
            for part in torch.from_numpy(images).split(self.capacity):
                parts.append(self._module(part.cuda()).cpu().numpy())
        return np.concatenate(parts).astype(np.float32, copy=False)

    def close(self) -> None:
        """Drop the program."""
        if not self._closed:
            super().close()
            del self._module


class TorchTensorRT(Target):
    """TensorRT by way of torch; the scheme is TensorRT's, and everything must fit into one engine."""

    name = "torch_tensorrt"
    scheme = SCHEMES["tensorrt"]
    options = TorchTensorRTOptions
    on_device = OnDevice(
        by_hand="torch with CUDA, `torch_tensorrt` for it, and `pip install numpy typer onnx nvidia-modelopt`",
        portable=False,
    )
    builds_with = (PROGRAMS,)

    def available(self) -> Availability:
        """Available where Torch-TensorRT, ModelOpt and an NVIDIA GPU are."""
        try:
            with redirect_stdout(StringIO()):  # it prints what it does not find
                import modelopt.torch.quantization  # noqa: F401  (defines tensorrt::quantize_op)
                import torch
                import torch_tensorrt  # noqa: F401
        except Exception as error:  # a missing library raises ImportError, OSError, RuntimeError, ...
            return Availability(False, f"{reason_of(error)}; install it with: {_INSTALL}")
        if not torch.cuda.is_available():
            return Availability(False, "torch sees no NVIDIA GPU")
        packages = ("torch-tensorrt", "nvidia-modelopt", "torch")
        return Availability(True, versions={package: version(package) for package in packages} | _tensorrt())

    def tied_to(self) -> str | None:
        """The GPU."""
        return gpu_name()

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Compile the graph into `model.pt2`; `engine_cache` beside it holds timings, and engines if refittable."""
        self.check_available()
        chosen = options or TorchTensorRTOptions()
        assert isinstance(chosen, TorchTensorRTOptions)
        signature = read_signature(onnx_path)
        if signature.batch is not None:
            chosen = replace(chosen, batch=signature.batch, best_batch=signature.batch)
        program = torch_program(onnx_path, self.scheme, NAME)
        out_dir.mkdir(parents=True, exist_ok=True)
        path = out_dir / PROGRAM
        try:
            _compile(program, signature, chosen, path)
        except EdgeproofError as error:
            raise StageError(f"{onnx_path}: {NAME} refuses the model: {reason_of(error)}") from None
        except Exception as error:  # its compiler raises nearly any type
            raise StageError(f"{onnx_path}: {NAME} refuses the model: {reason_of(error)}") from error
        engine = EngineFile.of(self.name, path, options)
        self.load(engine, threads=threads).close()
        return engine

    def load(self, engine: EngineFile, *, threads: int = 1) -> TorchTensorRTEngine:
        """Load a compiled program; `threads` means nothing to a GPU.

        The file holds code for the GPU, so its digest is checked before anything reads it.
        """
        self.check_available()
        engine.check()
        import torch_tensorrt

        try:
            with redirect_stderr(StringIO()):  # it prints a traceback, then raises
                program = torch_tensorrt.load(str(engine.path))
        except Exception as error:  # another GPU, another version, no such file format
            raise StageError(f"{engine.path}: {NAME} refuses the engine: {reason_of(error)}") from None
        signature, capacity = program_signature(program, engine.path)
        return TorchTensorRTEngine(program.module().cuda(), signature, capacity)


def _tensorrt() -> dict[str, str]:
    """The version of TensorRT's libraries: an engine is loaded by the one that built it only."""
    found: dict[str, str] = {}
    for name in _TENSORRT:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _compile(program: nn.Module, signature: ModelSignature, options: TorchTensorRTOptions, path: Path) -> None:
    import torch
    import torch_tensorrt
    from torch_tensorrt.dynamo.runtime import TorchTensorRTModule

    free = signature.batch is None and options.batch > 1
    images = torch.zeros(options.batch, *signature.image_shape, device="cuda")
    quantized = rewrite(
        exported(program.eval().cuda(), images, free=free).module(), torch.ops.tensorrt.quantize_op.default
    )
    shapes = {"min": 1 if free else options.batch, "opt": options.best_batch, "max": options.batch}
    profile = torch_tensorrt.Input(
        **{f"{which}_shape": (count, *signature.image_shape) for which, count in shapes.items()}, dtype=torch.float32
    )
    compiled = torch_tensorrt.compile(
        exported(quantized, images, free=free),
        ir="dynamo",
        arg_inputs=[profile],
        require_full_compilation=True,
        min_block_size=1,  # below it, a small graph would be handed back as it is
        disable_tf32=True,  # float layers are the file's float32
        immutable_weights=not options.refittable,
        cache_built_engines=options.refittable,
        reuse_cached_engines=options.refittable,
        engine_cache_dir=str(path.parent / CACHE),
        timing_cache_path=str(path.parent / CACHE / "timing.bin"),
    )
    check_one_engine(compiled, TorchTensorRTModule)
    dynamic = {"images": {0: torch.export.Dim("batch", min=1, max=options.batch)}} if free else None
    torch_tensorrt.save(compiled, str(path), arg_inputs=[images], dynamic_shapes=dynamic)


def check_one_engine(compiled: nn.Module, kind: type[nn.Module]) -> None:
    """Refuse a compiled graph that is anything but a single call of one TensorRT engine.

    Args:
        compiled: what `torch_tensorrt.compile` returned.
        kind: the class of its engines.

    Raises:
        StageError: there are several, or none, or something runs in torch; it is named.
    """
    engines = {name for name, module in compiled.named_modules() if isinstance(module, kind)}
    nodes: Any = getattr(getattr(compiled, "graph", None), "nodes", ())
    outside = [
        f"{node} ({getattr(node.target, '__name__', node.target)})"
        for node in nodes
        if node.op in ("call_function", "call_method", "call_module")
        and node.target not in engines
        and getattr(node.target, "__name__", "") != "getitem"
    ]
    if outside:
        raise StageError(f"not all of it fits into TensorRT: {', '.join(outside)}")
    if len(engines) != 1:
        raise StageError(f"it became {len(engines)} engines, exactly one is wanted")


def program_signature(program: ExportedProgram, path: Path) -> tuple[ModelSignature, int]:
    """The signature of an exported program and its largest batch; `path` is for messages.

    Raises:
        ModelError: the program is no image classifier.
    """
    known = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs, outputs = (
        [_value_of(str(name), known.get(name)) for name in names]
        for names in (program.graph_signature.user_inputs, program.graph_signature.user_outputs)
    )
    signature = checked_signature(inputs, outputs, path)
    if signature.batch is not None:
        return signature, signature.batch
    bounds = [limit.upper for limit in program.range_constraints.values()]
    return signature, min([int(upper) for upper in bounds if upper.is_Integer], default=TorchTensorRTOptions().batch)


def _value_of(name: str, value: Any) -> Value:
    if value is None or not hasattr(value, "shape"):
        return Value(name, "no tensor", ())
    kind = {"float32": "FLOAT"}.get(str(value.dtype).removeprefix("torch."), str(value.dtype).removeprefix("torch."))
    return Value(name, kind, tuple(size if isinstance(size, int) else str(size) for size in value.shape))
