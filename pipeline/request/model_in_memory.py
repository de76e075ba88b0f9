"""Models in memory: torch modules, functions, ONNX models and ONNX Runtime sessions that are handed over as objects."""

from __future__ import annotations

import hashlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import numpy as np
from torch import Tensor, nn

from ...core.errors import EdgeproofError, UsageError
from ...stages.verify.subject.function_subject import InThisProcess
from ...stages.verify.subject.module_subject import answered, device_of, digest_of_tensors, frozen_copy
from ..store.user_code import functions_digest

_CPU = "CPUExecutionProvider"
_UNNAMED = "model"
_OF_EVERY_CLASS = {"__dict__", "__weakref__", "__doc__", "__firstlineno__", "_abc_impl"}


@dataclass(frozen=True)
class ModelInMemory:
    """A model that runs in Python: a torch module, or a function.

    Attributes:
        name: for folders and the report.
        object: a frozen copy of the module, or the function.
    """

    name: str
    object: nn.Module | Callable[[Any], Any]

    @property
    def is_module(self) -> bool:
        """Whether it is a torch module, with gradients of its own."""
        return isinstance(self.object, nn.Module)

    @cached_property
    def _pickled(self) -> bytes | None:
        """The object as workers get it, but for tensors, of which digests stand there; None where that fails."""
        buffer = io.BytesIO()
        try:
            _Pickler(buffer).dump(self.object)
        except Exception:  # theirs may fail in any way
            return None
        return buffer.getvalue()

    @property
    def alone(self) -> str:
        """Why it must be attacked in this process alone; empty where other processes can have a copy."""
        if not isinstance(self.object, nn.Module):
            return "a function in memory runs in this process"
        if device_of(self.object).type != "cpu":
            return f"the module is on {device_of(self.object)}"
        return "" if self._pickled is not None else "the module cannot be pickled"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the pickled object and the user's own code that its classes are of.

        Where nothing tells that it is the same, it is another every time: what was found is never taken for it.
        """
        if self._pickled is None:
            return hashlib.sha256(uuid4().bytes).hexdigest()
        return hashlib.sha256(self._code.encode() + self._pickled).hexdigest()

    @property
    def _code(self) -> str:
        each: list[Any] = list(self.object.modules()) if isinstance(self.object, nn.Module) else [self.object]
        kinds = [one if isinstance(one, type) or inspect.isroutine(one) else type(one) for one in each]
        own = {str(kind.__module__) for kind in kinds if not _installed(str(kind.__module__))}
        return functions_digest([f"{module}:code" for module in sorted(own)])

    def classes(self, image_shape: tuple[int, int, int]) -> int | None:
        """How many logits it answers; None where it answers something else, which is told where it is opened."""
        if isinstance(self.object, nn.Module):
            found = answered(self.object, image_shape)
        else:
            try:
                found = InThisProcess(self.object)(np.full((2, *image_shape), 0.5, np.float32))
            except EdgeproofError:
                return None
        return int(found.shape[1]) if found.ndim == 2 else None


def _installed(module: str) -> bool:
    """Whether a module is of a package that was installed, or of Python's own, whose versions are known."""
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return module == "__main__" or bool({"site-packages", "dist-packages"}.intersection(file.parts)) or not file.name


class _Pickler(cloudpickle.Pickler):
    """Pickles tensors as their digests, and classes of a notebook or a script as what stands in them.

    The usual pickles of both are others every time: they hold addresses and random numbers.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._met: set[type] = set()

    def reducer_override(self, obj: Any) -> Any:
        """What stands for an object in the pickle."""
        if isinstance(obj, Tensor):
            return str, (digest_of_tensors({str(type(obj)): obj}),)
        if isinstance(obj, type) and obj.__module__ == "__main__":
            if obj in self._met:  # by a method of its own, such as one that calls super()
                return str, (obj.__qualname__,)
            self._met.add(obj)
            inside = [(name, vars(obj)[name]) for name in sorted({*vars(obj)} - _OF_EVERY_CLASS)]
            return tuple, ((obj.__qualname__, obj.__bases__, inside),)
        return super().reducer_override(obj)


def as_given(model: Any, scratch: Path) -> str | ModelInMemory:
    """What is attacked, of what a caller hands over.

    Args:
        model: a path, `package.module:function`, a torch module, an ONNX model, an ONNX Runtime session, a MAITE model,
            or a function.
        scratch: a folder, into which an ONNX model is written.

    Returns:
        The name of a file or a function, or the model in memory.

    Raises:
        UsageError: it is something else, or a session that cannot be had back.
    """
    import onnx
    import onnxruntime

    if isinstance(model, str | Path):
        return str(model)
    if isinstance(model, onnx.ModelProto):
        return str(_written(model, scratch))
    if isinstance(model, onnxruntime.InferenceSession):
        return _of_session(model, scratch)
    if isinstance(model, nn.Module):
        return ModelInMemory(_plain(type(model).__name__), frozen_copy(model))
    if _by_maite(model):
        return ModelInMemory(_plain(str(model.metadata["id"])), _AskedInLists(model))
    if callable(model) and not isinstance(model, type):
        return ModelInMemory(_plain(getattr(model, "__name__", type(model).__name__)), model)
    raise UsageError(
        "model: must be a file, package.module:function, a torch module, an ONNX model, an ONNX Runtime session or a "
        f"function of images, got {model.__name__ if isinstance(model, type) else type(model).__name__}"
    )


def _written(model: Any, scratch: Path) -> Path:
    """A file of an ONNX model."""
    path = scratch / f"{_plain(model.graph.name)}.onnx"
    try:
        path.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf's limit of two GiB
        raise UsageError(f"model: is too large for one file ({error}); save it, and give its path") from None
    return path


def _of_session(session: Any, scratch: Path) -> str:
    """The file, or the bytes, that a session was made of.

    Raises:
        UsageError: it runs elsewhere than on the CPU, or does not tell what it was made of.
    """
    name = session.get_inputs()[0].name
    itself = f"verify(lambda images: session.run(None, {{{name!r}: images}})[0], …)"
    others = [provider for provider in session.get_providers() if provider != _CPU]
    if others:
        raise UsageError(
            f"model: the session runs on {', '.join(others)}; give its file, which is attacked on the CPU, or attack "
            f"the session as it is by {itself}"
        )
    path, content = getattr(session, "_model_path", None), getattr(session, "_model_bytes", None)
    if path is not None and Path(path).is_file():
        if not _answers_as(session, path):
            raise UsageError(
                f"model: {path} answers otherwise than the session that was made of it; give the file that is meant, "
                f"or {itself}"
            )
        return str(path)
    if content is None:
        raise UsageError(f"model: the session does not tell what it was made of; give its file, or {itself}")
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception:
        raise UsageError(f"model: the session was made of no ONNX model; give its file, or {itself}") from None
    return str(_written(model, scratch))


def _answers_as(session: Any, path: str) -> bool:
    """Whether a file still is what a session was made of, as far as one random input tells."""
    import onnxruntime

    generator = np.random.default_rng(0)
    asked = {
        each.name: generator.random([size if isinstance(size, int) else 1 for size in each.shape]).astype(np.float32)
        for each in session.get_inputs()
        if each.type == "tensor(float)"
    }
    try:
        answers = session.run(None, asked)
        again = onnxruntime.InferenceSession(path, providers=[_CPU]).run(None, asked)
    except Exception:  # it wants other inputs; what is wrong with the file is told where it is read
        return True
    return all(
        np.allclose(np.asarray(one), np.asarray(other), rtol=1e-2, atol=1e-2)
        for one, other in zip(answers, again, strict=True)
    )


def _by_maite(model: Any) -> bool:
    """Whether a model keeps MAITE's protocol: `metadata` with an id, and lists of images to lists of answers."""
    metadata = getattr(model, "metadata", None)
    return callable(model) and isinstance(metadata, Mapping) and "id" in metadata


@dataclass(frozen=True)
class _AskedInLists:
    """A MAITE model as a function of arrays."""

    model: Callable[[Sequence[Any]], Sequence[Any]]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        answers = self.model(list(images))
        rows = [np.asarray(row.detach().cpu() if hasattr(row, "detach") else row) for row in answers]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def _plain(name: str) -> str:
    """A name that a folder can have."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or _UNNAMED
