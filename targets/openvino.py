"""OpenVINO on the CPU: the engine file is an ONNX file, which OpenVINO reads as it is, or its own `.xml` and `.bin`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Availability, Engine, EngineFile, Images, Logits, Target, TargetOptions, targets
from .errors import BackendMissing, StageError
from .model_file import copy_model
from .schemes import SCHEMES
from .signature import ModelSignature, Value, checked_signature, read_signature, readable

if TYPE_CHECKING:
    import openvino

_DEVICE = "CPU"
# Its names of element types, and ONNX's.
_KINDS = {"f32": "FLOAT", "f64": "DOUBLE", "f16": "FLOAT16", "bf16": "BFLOAT16", "i": "INT", "u": "UINT"}


class OpenVinoEngine(Engine):
    """A compiled model with one infer request."""

    def __init__(self, compiled: openvino.CompiledModel, signature: ModelSignature) -> None:
        super().__init__(signature)
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def _run(self, images: Images) -> Logits:
        answer = self._request.infer({self.signature.input_name: images}, share_inputs=True)
        # The request writes its next answer into the same memory.
        return np.array(answer[self.signature.output_name], dtype=np.float32)

    def close(self) -> None:
        """Drop the compiled model."""
        if not self._closed:
            super().close()
            del self._request, self._compiled


class OpenVino(Target):
    """OpenVINO's CPU plug-in; its int8 kernels take unsigned activations and float biases."""

    name = "openvino"
    scheme = SCHEMES["openvino"]

    def available(self) -> Availability:
        """Available where the `openvino` package imports."""
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            return Availability(False, f"{error}; install it with: pip install 'edgeproof[openvino]'")
        return Availability(True, versions={"openvino": version("openvino")})

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Copy the ONNX file as `model.onnx` and prove that the runtime compiles it."""
        read_signature(onnx_path)
        engine = EngineFile.of(self.name, copy_model(onnx_path, out_dir, "model.onnx"), options)
        self.load(engine, threads=threads).close()
        return engine

    def load(self, engine: EngineFile, *, threads: int = 1) -> OpenVinoEngine:
        """Compile the model for the lowest latency with the given number of threads, floats computed in float32."""
        state = self.available()
        if not state.available:
            raise BackendMissing(f"target {self.name!r}: {state.reason}")
        engine.check()
        signature = read_signature(engine.path) if engine.path.suffix == ".onnx" and readable() else None
        compiled = _compile(engine.path, threads)
        return OpenVinoEngine(compiled, signature or compiled_signature(compiled, engine.path))


def compiled_signature(compiled: openvino.CompiledModel, path: Path) -> ModelSignature:
    """Read the signature off a compiled model, where no ONNX file can be read; `path` is for messages.

    Raises:
        ModelError: the model is no image classifier.
    """
    inputs, outputs = (
        [
            Value(
                port.get_any_name(),
                _kind(port.get_element_type().get_type_name()),
                tuple(size.get_length() if size.is_static else "?" for size in port.get_partial_shape()),
            )
            for port in ports
        ]
        for ports in (compiled.inputs, compiled.outputs)
    )
    return checked_signature(inputs, outputs, path)


def _kind(name: str) -> str:
    letters = name.rstrip("0123456789")
    return _KINDS.get(name) or _KINDS.get(letters, letters).upper() + name.removeprefix(letters)


def _compile(path: Path, threads: int) -> openvino.CompiledModel:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # The default on processors with bfloat16 is to compute floats in it: another function than the file's.
        "INFERENCE_PRECISION_HINT": "f32",
        # Processes side by side would all pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        return core.compile_model(core.read_model(path), _DEVICE, settings)
    except RuntimeError as error:
        raise StageError(f"{path}: OpenVINO refuses the model: {_reason(error)}") from None


def _reason(error: RuntimeError) -> str:
    """The lines that speak of the model, not of OpenVINO's sources."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    noise = ("Exception from", "Check '", "FrontEnd API failed", "Model wasn't fully", "Summary:")
    return " ".join(line for line in lines if line and not line.startswith(noise)) or lines[0]


targets.register("openvino")(OpenVino())
