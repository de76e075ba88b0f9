"""OpenVINO models: read, compiled, and what they say of themselves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import BackendMissing, StageError
from ..base import TargetOptions
from ..signature import ModelSignature, Value, checked_signature

if TYPE_CHECKING:
    import openvino

# Its names of element types, and ONNX's.
_KINDS = {"f32": "FLOAT", "f64": "DOUBLE", "f16": "FLOAT16", "bf16": "BFLOAT16", "i": "INT", "u": "UINT"}
_TELEMETRY = "openvino_telemetry"


@dataclass(frozen=True, kw_only=True)
class OpenVinoOptions(TargetOptions):
    """Options of target `openvino`.

    Attributes:
        device: which plug-in runs the graph.
        hint: `latency`, all threads for one request; `throughput`, a batch divided among streams of few threads.
        streams: how many streams; OpenVINO's own choice for the hint when None.
    """

    device: Literal["CPU", "GPU", "NPU"] = "CPU"
    hint: Literal["latency", "throughput"] = "latency"
    streams: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streams is not None and self.streams < 1:
            raise ValueError(f"streams: at least 1, got {self.streams}")

    @property
    def fixed_shapes(self) -> bool:
        """Whether the device takes no free batch size (docs.openvino.ai, "NPU Device")."""
        return self.device == "NPU"


@cache
def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    Its Python package reports each import to its maker, from a child process; where child processes are spawned, that
    one imports the program once more and takes a core for seconds. With the reporting package absent OpenVINO uses a
    stub of its own (openvino/tools/ovc/telemetry_utils.py).

    Raises:
        ImportError: it is not installed, or does not load.
    """
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if before is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before
    return openvino


def read_openvino(path: Path) -> openvino.Model:
    """Read an ONNX file or an OpenVINO `.xml`.

    Raises:
        StageError: OpenVINO refuses it.
    """
    try:
        return import_openvino().Core().read_model(path)
    except RuntimeError as error:
        raise StageError(f"{path}: OpenVINO refuses the model: {_reason(error)}") from None


def compile_openvino(
    model: openvino.Model, options: OpenVinoOptions, threads: int, path: Path, *, batch: int | None = None
) -> openvino.CompiledModel:
    """Compile a model, for one batch size where `batch` says so; `path` is for messages.

    Raises:
        BackendMissing: the device is not here.
        StageError: OpenVINO refuses the model.
    """
    core = import_openvino().Core()
    # Devices of a kind are numbered where there are several: GPU.0, GPU.1.
    here = core.available_devices
    if not any(name.partition(".")[0] == options.device for name in here):
        raise BackendMissing(f"target 'openvino': no device {options.device} here (there are: {', '.join(here)})")
    if batch is not None:
        model = model.clone()
        shape = model.inputs[0].get_partial_shape()
        shape[0] = batch
        model.reshape(shape)
    try:
        return core.compile_model(model, options.device, _settings(options, threads))
    except RuntimeError as error:
        raise StageError(f"{path}: OpenVINO refuses the model: {_reason(error)}") from None


def _settings(options: OpenVinoOptions, threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": options.hint.upper()}
    if options.streams is not None:
        settings["NUM_STREAMS"] = options.streams
    elif options.hint == "latency":
        settings["NUM_STREAMS"] = 1
    if options.device != "NPU":
        # The default on processors with bfloat16 is to compute floats in it, and in float16 on GPUs: another function
        # than the file's. The NPU has float16 only.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    if options.device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = threads
        # Processes side by side would all pin their threads to the same cores; where it is alone it is no faster.
        settings["ENABLE_CPU_PINNING"] = False
    return settings


def model_signature(model: openvino.Model, path: Path) -> ModelSignature:
    """Read the signature off a model, where no ONNX file can be read; `path` is for messages.

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
        for ports in (model.inputs, model.outputs)
    )
    return checked_signature(inputs, outputs, path)


def _kind(name: str) -> str:
    letters = name.rstrip("0123456789")
    return _KINDS.get(name) or _KINDS.get(letters, letters).upper() + name.removeprefix(letters)


def _reason(error: RuntimeError) -> str:
    """The lines that speak of the model, not of OpenVINO's sources."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    noise = ("Exception from", "Check '", "FrontEnd API failed", "Model wasn't fully", "Summary:")
    return " ".join(line for line in lines if line and not line.startswith(noise)) or lines[0]
