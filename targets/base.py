"""Target protocol: a target builds and loads engines, an engine answers images; and the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BackendMissing, EdgeproofError, ModelError, StageError
from ..core.model_file import digest_of
from ..core.registry import Registry
from .on_device import OnDevice
from .option_values import check_types
from .signature import ModelSignature

Images = NDArray[np.float32]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Scheme:
    """What a target wants its QDQ graph to look like.

    Attributes:
        name: short name, recorded with the quantized model.
        activation: integer type of the activations.
        weight: integer type of the weights.
        activation_symmetric: zero point 0 (or the middle of an unsigned range).
        per_channel: one weight scale per output channel instead of one per tensor.
        quantize_bias: int32 biases behind a DequantizeLinear; TensorRT's parser refuses them.
        weight_qdq_pair: keep weights in float before a Q/DQ pair instead of storing integers.
        keep_activations: keep Relu and Clip nodes that an asymmetric quantizer could swallow.
        epilogue: when a Relu or Clip is fused into the operator before it: `fused`, if no Q/DQ pair stands between;
            `redundant`, only if the quantizer behind it clips as much anyway; `any`, either way.
        quantized_outputs: an operator runs in integers only if its output is quantized as well.
        refuses: lint rules whose findings are errors here, because the target refuses or misreads such a graph.
        accepts: lint rules whose findings do not matter here.
        refused_operators: ONNX operators that the target does not have.
        domains: operator domains that the target knows beside ONNX's own.
    """

    name: str
    activation: Literal["uint8", "int8", "uint4", "int4"]
    weight: Literal["int8", "int4"] = "int8"
    activation_symmetric: bool = False
    per_channel: bool = True
    quantize_bias: bool = True
    weight_qdq_pair: bool = False
    keep_activations: bool = True
    epilogue: Literal["any", "fused", "redundant"] = "any"
    quantized_outputs: bool = False
    refuses: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    refused_operators: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def activation_bits(self) -> int:
        """Bits of an activation."""
        return 4 if self.activation.endswith("4") else 8


@dataclass(frozen=True)
class Availability:
    """Whether a target can run here, and if not, why and what to install; `builds`: it builds even where it cannot."""

    available: bool
    reason: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    builds: bool = False


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """How a target builds and runs its engines, beside the graph; targets that have a choice derive from this.

    Fields are JSON-able and have defaults; `__post_init__` raises ValueError for what is not of its type, and that of
    a derived class for what types do not say. A plain dataclass, because a device that replays a pack may have no
    pydantic.
    """

    # Read by pydantic where recipes are checked.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def chosen(self) -> dict[str, Any]:
        """The fields that are not the target's own choice."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }


@dataclass(frozen=True)
class EngineFile:
    """A built engine on disk, bound to its content: a verdict belongs to this digest and these options.

    Attributes:
        target: the target's name.
        path: the file.
        sha256: its digest.
        options: what differs from the target's own options, as JSON-able data.
    """

    target: str
    path: Path
    sha256: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, target: str, path: Path, options: TargetOptions | None = None) -> EngineFile:
        """Describe a file as it is now, the external data of an ONNX file included."""
        return cls(target, path, digest_of(path), {} if options is None else options.chosen)

    def check(self) -> None:
        """Raise StageError when the file is not the one that was built."""
        if not self.path.is_file():
            raise StageError(f"{self.path}: the engine file is gone; build it again")
        try:
            intact = digest_of(self.path) == self.sha256
        except (ModelError, OSError):
            intact = False
        if not intact:
            raise StageError(f"{self.path}: the engine was altered after it was built; build it again")


class Engine(ABC):
    """A loaded, runnable model: float32 images `[N, C, H, W]` in, float32 logits `[N, K]` out.

    Any N >= 0 is allowed, several threads may call, and every call returns an array of its own. Engines are context
    managers.

    Attributes:
        signature: what goes in and comes out.
        notes: what a user should know of how it runs here, such as operators that fell back to another processor.
    """

    def __init__(self, signature: ModelSignature, notes: tuple[str, ...] = ()) -> None:
        self.signature = signature
        self.notes = notes
        self._closed = False

    def __call__(self, images: Images) -> Logits:
        """Answer a batch.

        Raises:
            EdgeproofError: the engine is closed; or the array is not float32 `[N, C, H, W]` of its shape, or holds NaN
                or infinity.
        """
        if self._closed:
            raise EdgeproofError("the engine is closed")
        if not isinstance(images, np.ndarray) or images.dtype != np.float32:
            kind = getattr(images, "dtype", type(images).__name__)
            raise EdgeproofError(f"the engine takes a float32 array, got {kind}")
        expected = self.signature.image_shape
        if images.ndim != 4 or images.shape[1:] != expected:
            raise EdgeproofError(
                f"the engine takes images [N, {', '.join(map(str, expected))}], got {list(images.shape)}"
            )
        if not np.isfinite(images.sum(dtype=np.float64)):
            # Runtimes differ in what they make of it, and int8 kernels answer as if nothing were wrong.
            row = int(np.isfinite(images).all(axis=(1, 2, 3)).argmin())
            raise EdgeproofError(f"image {row} of {len(images)} holds NaN or infinity")
        if len(images) == 0:
            return np.zeros((0, self.signature.classes), np.float32)
        fixed = self.signature.batch
        if fixed is None:
            return self._run(np.ascontiguousarray(images))
        return self._run_fixed(images, fixed)

    @abstractmethod
    def _run(self, images: Images) -> Logits:
        """Run one non-empty, contiguous batch and return a fresh array."""

    def _run_fixed(self, images: Images, batch: int) -> Logits:
        """Serve a model of fixed batch size: split, and pad the last part with its own last image."""
        count = len(images)
        padded = np.concatenate([images, np.repeat(images[-1:], -count % batch, axis=0)])
        parts = [self._run(np.ascontiguousarray(part)) for part in np.split(padded, len(padded) // batch)]
        return np.concatenate(parts)[:count]

    def close(self) -> None:
        """Release the runtime's resources; a second call does nothing."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Target(ABC):
    """One deployment runtime. Its heavy imports happen inside its methods.

    Attributes:
        name: as in recipes.
        scheme: how a graph is quantized for it.
        options: the class of its options.
        on_device: what its engines need on a device.
        builds_with: modules that it builds with and no import statement of its own leads to; an engine is built anew
            where they changed.
        runs_graph: whether its engine file is the ONNX file itself, so that nothing has to be built.
    """

    name: ClassVar[str]
    scheme: ClassVar[Scheme]
    options: ClassVar[type[TargetOptions]] = TargetOptions
    on_device: ClassVar[OnDevice] = OnDevice()
    builds_with: ClassVar[tuple[str, ...]] = ()
    runs_graph: ClassVar[bool] = False

    @abstractmethod
    def available(self) -> Availability:
        """Say whether this runtime can run here, and why not when not."""

    def tied_to(self) -> str | None:
        """What an engine built here is tied to beside its file and its runtime's version, such as a GPU; None: nothing.

        An engine in a store is built anew where this has changed.
        """
        return None

    @abstractmethod
    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Build the engine of an ONNX file into `out_dir`; `options` are of the class `self.options`.

        Raises:
            BackendMissing: the runtime is not installed.
            StageError: the runtime refuses the graph; the message carries the runtime's own words.
        """

    @abstractmethod
    def load(self, engine: EngineFile, *, threads: int = 1) -> Engine:
        """Load an engine after checking its digest, with the options it was built with.

        `threads` bounds the runtime's own parallelism.

        Raises:
            BackendMissing: the runtime is not installed.
            StageError: the file was altered, or the runtime refuses it.
        """

    def check_available(self) -> None:
        """Raise BackendMissing where the runtime cannot run here, with what to install."""
        state = self.available()
        if not state.available:
            raise BackendMissing(f"target {self.name!r}: {state.reason}")

    def options_of(self, engine: EngineFile) -> Any:
        """Return the options of an engine, an instance of `self.options`.

        Raises:
            StageError: they are no options of this target.
        """
        try:
            return self.options(**engine.options)
        except (TypeError, ValueError) as error:
            raise StageError(f"{engine.path}: no options of target {self.name!r}: {error}") from None


targets: Registry[Target] = Registry("target", "edgeproof.targets", "edgeproof.targets", instances_of=Target)
