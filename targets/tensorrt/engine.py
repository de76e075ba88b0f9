"""TensorRT execution: a plan on torch's CUDA memory, on a stream of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from ...core.errors import EdgeproofError, StageError, reason_of
from ..base import Images, Logits
from ..signature import ModelSignature
from .api import CudaEngine, ExecutionContext, Runtime
from .batched import BatchedEngine
from .library import Library
from .log import listening, logger_of, words
from .plan.bindings import batch_range, plan_signature

# A run that fails logs a handful of lines; earlier ones are of something else.
_RECENT = 5


class PlanEngine(BatchedEngine):
    """A deserialized plan with one execution context; threads take turns."""

    def __init__(
        self,
        library: Library,
        runtime: Runtime,
        engine: CudaEngine,
        context: ExecutionContext,
        signature: ModelSignature,
    ) -> None:
        import torch

        super().__init__(signature, *batch_range(engine, signature))
        self._library = library
        self._runtime = runtime  # must outlive the engine
        self._engine = engine
        self._context = context
        self._device = torch.cuda.current_device()
        # On the default stream the library would synchronise the whole device.
        self._stream = torch.cuda.Stream()
        self._turn = threading.Lock()

    def _answer(self, images: Images) -> Logits:
        import torch

        with self._turn, torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            if self._closed:
                raise EdgeproofError("the engine is closed")
            try:
                given = torch.tensor(images, device="cuda")
                answer = torch.empty((len(images), self.signature.classes), dtype=torch.float32, device="cuda")
            except torch.cuda.OutOfMemoryError as error:
                raise StageError(f"{self._library.title}: {len(images)} images: {reason_of(error)}") from None
            self._point_at(tuple(given.shape), given.data_ptr(), tuple(answer.shape), answer.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise self._failure("the run failed")
            # Copying waits for the stream: the memory of both tensors is free after it.
            return np.array(answer.cpu().numpy())

    def _point_at(self, images: tuple[int, ...], source: int, logits: tuple[int, ...], sink: int) -> None:
        """Tell the context shapes and addresses; it checks no more than what is checked here."""
        names, context = self.signature, self._context
        if not context.set_input_shape(names.input_name, images):
            raise self._failure(f"images {list(images)} are outside of the plan's profile")
        if missing := context.infer_shapes():
            raise self._failure(f"no shapes for {', '.join(missing)}")
        found = tuple(context.get_tensor_shape(names.output_name))
        if found != logits:
            raise self._failure(f"it would answer {list(found)} where {list(logits)} was expected")
        for name, address in ((names.input_name, source), (names.output_name, sink)):
            if not context.set_tensor_address(name, address):
                raise self._failure(f"no memory for {name!r}")

    def _failure(self, what: str) -> StageError:
        return StageError(f"{self._library.title}: {what}: {words(tuple(logger_of(self._library).lines)[-_RECENT:])}")

    def layers(self) -> str:
        """What the library tells of the plan's layers, as JSON; see `inspector.py`.

        Raises:
            EdgeproofError: the engine is closed.
        """
        with self._turn:
            if self._closed:
                raise EdgeproofError("the engine is closed")
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = self._context
            return inspector.get_engine_information(self._library.api.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Free the plan's memory; a run that is under way ends first."""
        with self._turn:
            if not self._closed:
                super().close()
                del self._context, self._engine, self._runtime


def open_plan(
    library: Library, path: Path, content: bytes, *, threads: int, host_code: bool, weights: Path | None
) -> PlanEngine:
    """Deserialize a plan that is known to be ours: this runs code that it holds.

    Args:
        library: of the version that built it.
        path: for messages.
        content: the plan.
        threads: of the runtime.
        host_code: whether it may hold code for the host, as version-compatible plans do.
        weights: the ONNX file that has the weights of a stripped plan.

    Raises:
        StageError: the library refuses the plan, or there is too little memory on the GPU.
        ModelError: it is no image classifier.
    """
    api = library.api
    with listening(library) as lines:
        logger = logger_of(library)
        runtime = api.Runtime(logger)
        runtime.max_threads = threads
        runtime.engine_host_code_allowed = host_code
        # No plan may leave files on this machine.
        runtime.tempfile_control_flags = 1 << int(api.TempfileControlFlag.ALLOW_IN_MEMORY_FILES)
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise StageError(f"{path}: {library.title} refuses the plan: {words(lines)}")
        if weights is not None:
            refitter = api.Refitter(engine, logger)
            parser = api.OnnxParserRefitter(refitter, logger)
            if not (parser.refit_from_file(str(weights)) and refitter.refit_cuda_engine()):
                raise StageError(f"{path}: {library.title} cannot take the weights from {weights}: {words(lines)}")
        context = engine.create_execution_context()
        if context is None:
            raise StageError(f"{path}: {library.title} finds too little memory on the GPU: {words(lines)}")
        signature = plan_signature(engine, path)
    return PlanEngine(library, runtime, engine, context, signature)
