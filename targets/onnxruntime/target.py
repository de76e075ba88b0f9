"""ONNX Runtime: the engine file is the ONNX file itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import StageError, reason_of
from ...core.versions import ONNX_RUNTIMES, installed_versions
from ..base import Availability, Engine, EngineFile, Images, Logits
from ..on_device import OnDevice
from ..onnx_file import OnnxFileTarget
from ..schemes import SCHEMES
from ..signature import ModelSignature, Value, checked_signature, read_signature, readable
from .options import OnnxRuntimeOptions, check_placement, providers, session_options
from .saturation import sums_saturate

if TYPE_CHECKING:
    import onnxruntime

# Widens sums that would saturate. Only where they do: with VNNI it changes no answer and takes twice the time.
WIDE_SUMS = {"session.x64quantprecision": "1"}


class OnnxRuntimeEngine(Engine):
    """An ONNX Runtime session on the CPU."""

    def __init__(
        self, session: onnxruntime.InferenceSession, signature: ModelSignature, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(signature, notes)
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


class BoundEngine(OnnxRuntimeEngine):
    """A session whose input and output lie in a device's memory: each is copied once, at the ends.

    Args:
        session: the session.
        signature: what goes in and comes out.
        notes: see `Engine`.
        device: whose memory, as ONNX Runtime calls it.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        signature: ModelSignature,
        notes: tuple[str, ...] = (),
        device: str = "cuda",
    ) -> None:
        super().__init__(session, signature, notes)
        self._device = device

    def _run(self, images: Images) -> Logits:
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self.signature.input_name, OrtValue.ortvalue_from_numpy(images, self._device, 0))
        binding.bind_output(self.signature.output_name, self._device, 0)
        self._session.run_with_iobinding(binding)
        (logits,) = binding.copy_outputs_to_cpu()
        return np.array(logits, dtype=np.float32)


# Of files that ONNX Runtime saved for itself (`session.save_model_format`).
OWN_FORMAT = ".ort"


class OnnxRuntime(OnnxFileTarget):
    """ONNX Runtime; unsigned activations and signed per-channel weights are fastest on x86 CPUs."""

    name = "onnxruntime"
    scheme = SCHEMES["onnxruntime"]
    options = OnnxRuntimeOptions
    on_device = OnDevice(packages=("onnxruntime",))

    def available(self) -> Availability:
        """Available where a package imports that brings `onnxruntime`: its own, or a vendor's build."""
        try:
            import onnxruntime
        except ImportError as error:
            return Availability(False, f"{error}; install it with: pip install onnxruntime")
        found = installed_versions(ONNX_RUNTIMES) or {"onnxruntime": onnxruntime.__version__}
        return Availability(True, versions=dict([*found.items()][:1]))

    def load(self, engine: EngineFile, *, threads: int = 1) -> OnnxRuntimeEngine:
        """Open a session with the given number of threads."""
        self.check_available()
        engine.check()
        options: OnnxRuntimeOptions = self.options_of(engine)
        # Its own format, .ort, is no ONNX file.
        signature = read_signature(engine.path) if readable() and engine.path.suffix != OWN_FORMAT else None
        session = open_session(engine.path, threads=threads, options=options)
        signature = signature or session_signature(session, engine.path)
        if not options.on_gpu:
            return OnnxRuntimeEngine(session, signature)
        # It would otherwise open itself again on the CPU after an error, and say so on standard output.
        session.disable_fallback()
        return BoundEngine(session, signature, check_placement(session, options, engine.path))


def session_signature(session: onnxruntime.InferenceSession, path: Path) -> ModelSignature:
    """Read the signature off a session, where the file is no ONNX file or there is no `onnx` to read it with.

    Args:
        session: the session.
        path: the file, for messages.

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


def open_session(
    path: Path, *, threads: int = 1, optimise: bool = True, options: OnnxRuntimeOptions | None = None
) -> onnxruntime.InferenceSession:
    """Open a session; `optimise` counts where there are no options.

    Raises:
        BackendMissing: the execution provider is not here.
        StageError: the runtime refuses the graph.
    """
    options = options or OnnxRuntimeOptions(optimisation="all" if optimise else "none")
    wanted = providers(options, path)
    if not options.on_gpu and sums_saturate():
        # onnxruntime 1.31 refuses some U8S8 graphs (ConvNeXt, ViT) with that setting, and loads them without.
        with suppress(Exception):
            return _open(path, threads, options, wanted, WIDE_SUMS)
    try:
        return _open(path, threads, options, wanted, {})
    except Exception as error:  # the binding raises a family of its own, all derived from Exception
        raise StageError(f"{path}: ONNX Runtime refuses the model: {reason_of(error)}") from None


def _open(
    path: Path, threads: int, options: OnnxRuntimeOptions, wanted: list[Any], settings: dict[str, str]
) -> onnxruntime.InferenceSession:
    import onnxruntime

    session = session_options(options, threads)
    for key, value in settings.items():
        session.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(str(path), session, providers=wanted)
