"""OpenVINO: the engine file is an ONNX file, which OpenVINO reads as it is, or its own `.xml` and `.bin`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..base import Availability, Engine, EngineFile, Images, Logits
from ..on_device import OnDevice
from ..onnx_file import OnnxFileTarget
from ..schemes import SCHEMES
from ..signature import ModelSignature, read_signature, readable
from .model import OpenVinoOptions, compile_openvino, import_openvino, model_signature, read_openvino

if TYPE_CHECKING:
    import openvino

Compile = Callable[[int | None], "openvino.CompiledModel"]


class Requests:
    """A compiled model and its infer requests, one a stream."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(count)]
        self._tensor = import_openvino().Tensor

    def __call__(self, images: Images) -> Logits:
        """Answer a batch, divided among the streams; images are read where they lie."""
        if len(self._requests) == 1:
            (request,) = self._requests
            request.set_input_tensor(self._tensor(images, shared_memory=True))
            # In this thread: to wake another one takes longer than a tiny network. Arguments would take time as well.
            request.infer(share_outputs=True)
            # The request writes its next answer into the same memory.
            return request.get_output_tensor().data.copy()
        parts = np.array_split(images, min(len(self._requests), len(images)))
        busy = self._requests[: len(parts)]
        for request, part in zip(busy, parts, strict=True):
            request.set_input_tensor(self._tensor(part, shared_memory=True))
            request.start_async()
        for request in busy:
            request.wait()
        return np.concatenate([request.get_output_tensor().data for request in busy])


class OpenVinoEngine(Engine):
    """A model compiled for single images, and once more for any number of them when they first come.

    With a free batch size OpenVINO works out all shapes again in every call: a tenth of the time that a small network
    takes for an image. Both compute the same, to the last bit.

    Args:
        compile_for: compiles the model for a batch size, or for any.
        signature: what goes in and comes out.
        fixed: whether the device takes no free batch size, so that images come one by one.
    """

    def __init__(self, compile_for: Compile, signature: ModelSignature, *, fixed: bool) -> None:
        super().__init__(signature)
        self._compile_for, self._fixed = compile_for, fixed
        self._lock = Lock()
        self._single = Requests(compile_for(1 if signature.batch is None else None))
        self._any = None if signature.batch is None else self._single

    def _run(self, images: Images) -> Logits:
        with self._lock:  # requests are no thread's own
            if len(images) == 1 and self.signature.batch is None:
                return self._single(images)
            if self._fixed and self.signature.batch is None:
                return np.concatenate([self._single(images[row : row + 1]) for row in range(len(images))])
            if self._any is None:
                self._any = Requests(self._compile_for(None))
            return self._any(images)

    def close(self) -> None:
        """Drop the compiled models."""
        if not self._closed:
            super().close()
            del self._single, self._any, self._compile_for


class OpenVino(OnnxFileTarget):
    """OpenVINO; its CPU plug-in's int8 kernels take unsigned activations and float biases."""

    name = "openvino"
    scheme = SCHEMES["openvino"]
    options = OpenVinoOptions
    on_device = OnDevice(packages=("openvino",))

    def available(self) -> Availability:
        """Available where the `openvino` package imports."""
        try:
            import_openvino()
        except ImportError as error:
            return Availability(False, f"{error}; install it with: pip install 'edgeproof[openvino]'")
        return Availability(True, versions={"openvino": version("openvino")})

    def load(self, engine: EngineFile, *, threads: int = 1) -> OpenVinoEngine:
        """Compile the model for single images with the given number of threads, floats computed in float32."""
        self.check_available()
        engine.check()
        path, options = engine.path, self.options_of(engine)
        signature = read_signature(path) if path.suffix == ".onnx" and readable() else None
        model = read_openvino(path)
        return OpenVinoEngine(
            lambda batch: compile_openvino(model, options, threads, path, batch=batch),
            signature or model_signature(model, path),
            fixed=options.fixed_shapes,
        )
