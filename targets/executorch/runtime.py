"""ExecuTorch runtime in Python: programs opened, described and run."""

# An extra: not everybody who checks types has it.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ...core.errors import StageError, reason_of
from ..base import Images, Logits
from ..signature import ModelSignature, Value, checked_signature
from .log import overheard, quiet

NAME = "ExecuTorch"
# torch's numbers of element types (c10/core/ScalarType.h), and ONNX's names.
_KINDS = {0: "UINT8", 1: "INT8", 2: "INT16", 3: "INT32", 4: "INT64", 5: "FLOAT16", 6: "FLOAT", 7: "DOUBLE", 11: "BOOL"}
# The runtime is not written for two calls at once.
_running = Lock()


def runtime() -> Any:
    """Import the runtime's bindings; ImportError where it is not installed.

    The modules around them, `executorch.runtime` and `portable_lib`, import the exporter for a warning's class: four
    seconds of every process that runs an engine (executorch 1.5.1).
    """
    import torch  # noqa: F401  (the bindings are linked with its libraries)

    with quiet():
        try:
            from executorch.extension.pybindings import _C as bindings
        except ImportError:  # another version calls them otherwise
            from executorch.extension.pybindings import portable_lib as bindings
    return bindings


def use_threads(threads: int, live: Sized) -> None:
    """Resize the process's one thread pool.

    Programs hold on to it, and resizing it under them ends the process (executorch 1.5.1).

    Args:
        threads: its size.
        live: the programs that are loaded.

    Raises:
        StageError: it has another size and there are such programs.
    """
    bindings = runtime()
    with _running, overheard([]):
        now = bindings._threadpool_get_thread_count()
        if now != threads and len(live):
            raise StageError(
                f"{NAME} has one thread pool for all engines of a process, of {now} threads, and {threads} are wanted; "
                "close the other engines first"
            )
        if now != threads:
            bindings._unsafe_reset_threadpool(threads)


@dataclass(frozen=True)
class Method:
    """A program's one method.

    Attributes:
        run: a list of tensors to a list of tensors.
        metadata: of its inputs and outputs.
        kept: what must live as long as it does.
    """

    run: Any
    metadata: Any
    kept: Sequence[Any]


def open_program(path: Path) -> Method:
    """Load a file's one method.

    Raises:
        StageError: the runtime refuses the file, or it has other methods.
    """
    said: list[str] = []
    bindings, content = runtime(), path.read_bytes()
    try:
        with overheard(said):
            checked = bindings.Verification.InternalConsistency
            program = bindings._load_program_from_buffer(content, program_verification=checked)
            names = {program.get_method_name(place) for place in range(program.num_methods())}
            if names != {"forward"}:
                raise StageError(f"{path}: {NAME} programs with one method `forward` are wanted, not {sorted(names)}")
            method = program.load_method("forward")
            return Method(method, method.method_meta(), (content, program))
    except RuntimeError as error:
        raise StageError(f"{path}: {NAME} refuses the model: {'; '.join([reason_of(error), *said])}") from None


def execute(method: Method, images: Images) -> Logits:
    """Run one batch, which must not be larger than the program's; a fresh array.

    Raises:
        StageError: the runtime gives up; it says why on standard error, and here with a number.
    """
    import torch

    given = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    try:
        with _running:
            (logits,) = method.run([given])
    except RuntimeError as error:
        raise StageError(f"{NAME} gives no answer: {reason_of(error)}") from None
    return np.array(logits.numpy(), dtype=np.float32)


def program_signature(method: Method, path: Path) -> tuple[ModelSignature, int]:
    """The signature of a program and its largest batch; one that smaller batches fail on has a fixed batch size.

    Raises:
        ModelError: the program is no image classifier.
    """
    meta = method.metadata
    inputs = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
    outputs = [meta.output_tensor_meta(index) for index in range(meta.num_outputs())]
    signature = checked_signature(
        [Value(f"input {i}", _KINDS.get(each.dtype(), "?"), tuple(each.sizes())) for i, each in enumerate(inputs)],
        [Value(f"output {i}", _KINDS.get(each.dtype(), "?"), tuple(each.sizes())) for i, each in enumerate(outputs)],
        path,
    )
    capacity = signature.batch
    assert capacity is not None, "the file names the largest batch"
    if capacity > 1 and _serves_one(method, signature):
        return replace(signature, batch=None), capacity
    return signature, capacity


def _serves_one(method: Method, signature: ModelSignature) -> bool:
    try:
        with overheard([]):
            answer = execute(method, np.zeros((1, *signature.image_shape), np.float32))
    except StageError:
        return False
    return answer.shape == (1, signature.classes)
