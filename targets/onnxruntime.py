"""ONNX Runtime on the CPU: the engine file is the ONNX file itself."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .base import Availability, Engine, EngineFile, Images, Logits, Target, TargetOptions, targets
from .errors import BackendMissing, StageError
from .model_file import copy_model
from .saturation import sums_saturate
from .schemes import SCHEMES
from .signature import ModelSignature, Value, checked_signature, read_signature, readable

if TYPE_CHECKING:
    import onnxruntime

# Widens sums that would saturate. Only where they do: with VNNI it changes no answer and takes twice the time.
WIDE_SUMS = {"session.x64quantprecision": "1"}


class OnnxRuntimeEngine(Engine):
    """An ONNX Runtime session on the CPU execution provider."""

    def __init__(self, session: onnxruntime.InferenceSession, signature: ModelSignature) -> None:
        super().__init__(signature)
        self._session = session

    def _run(self, images: Images) -> Logits:
        (logits,) = self._session.run([self.signature.output_name], {self.signature.input_name: images})
        # The runtime may hand out its own buffer.
        return np.array(logits, dtype=np.float32)

    def close(self) -> None:
        """Drop the session."""
        if not self._closed:
            super().close()
            del self._session


class OnnxRuntime(Target):
    """ONNX Runtime; unsigned activations and signed per-channel weights are fastest on x86 CPUs."""

    name = "onnxruntime"
    scheme = SCHEMES["onnxruntime"]

    def available(self) -> Availability:
        """Available where the `onnxruntime` (or `onnxruntime-gpu`) package imports."""
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return Availability(False, f"{error}; install it with: pip install onnxruntime")
        try:
            number = version("onnxruntime")
        except PackageNotFoundError:
            number = version("onnxruntime-gpu")
        return Availability(True, versions={"onnxruntime": number})

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Copy the ONNX file as `model.onnx` and prove that the runtime loads it."""
        read_signature(onnx_path)
        engine = EngineFile.of(self.name, copy_model(onnx_path, out_dir, "model.onnx"), options)
        self.load(engine, threads=threads).close()
        return engine

    def load(self, engine: EngineFile, *, threads: int = 1) -> OnnxRuntimeEngine:
        """Open a session with all graph optimisations and the given number of threads."""
        state = self.available()
        if not state.available:
            raise BackendMissing(f"target {self.name!r}: {state.reason}")
        engine.check()
        signature = read_signature(engine.path) if readable() else None
        session = open_session(engine.path, threads=threads)
        return OnnxRuntimeEngine(session, signature or session_signature(session, engine.path))


def session_signature(session: onnxruntime.InferenceSession, path: Path) -> ModelSignature:
    """Read the signature off a session, where there is no `onnx` to read the file with; `path` is for messages.

    Raises:
        ModelError: the model is no image classifier.
    """
    inputs, outputs = (
        [
            Value(
                value.name,
                value.type.removeprefix("tensor(").removesuffix(")").upper(),
                tuple("?" if size is None else size for size in value.shape),
            )
            for value in values
        ]
        for values in (session.get_inputs(), session.get_outputs())
    )
    return checked_signature(inputs, outputs, path)


def open_session(path: Path, *, threads: int = 1, optimise: bool = True) -> onnxruntime.InferenceSession:
    """Open a CPU session.

    Raises:
        StageError: the runtime refuses the graph.
    """
    if sums_saturate():
        # onnxruntime 1.31 refuses some U8S8 graphs (ConvNeXt, ViT) with that setting, and loads them without.
        with suppress(Exception):
            return _open(path, threads, optimise, WIDE_SUMS)
    try:
        return _open(path, threads, optimise, {})
    except Exception as error:  # the binding raises a family of its own, all derived from Exception
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"{path}: ONNX Runtime refuses the model: {reason}") from None


def _open(path: Path, threads: int, optimise: bool, settings: dict[str, str]) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


targets.register("onnxruntime")(OnnxRuntime())
