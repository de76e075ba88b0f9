"""ExecuTorch with XNNPACK: the engine file is a `.pte`, lowered from the same ONNX graph."""

# An extra: not everybody who checks types has it.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from ...core.errors import EdgeproofError, StageError, reason_of
from ...core.reading.json_text import read_json
from ..base import Availability, Engine, EngineFile, Images, Logits, Target, TargetOptions
from ..on_device import OnDevice
from ..schemes import SCHEMES
from ..signature import read_signature
from ..torch_program import PROGRAMS, torch_program
from .lowering import Lowered, lower
from .runtime import NAME, Method, execute, open_program, program_signature, runtime, use_threads

if TYPE_CHECKING:
    from torch import nn

PROGRAM = "model.pte"
DELEGATION = "delegation.json"
_BACKEND = "XnnpackBackend"
# Of the check after a build: images, and how far off a logit may be, in parts of the range of all.
_CHECKED = 4
_TOLERANCE = 0.1
_live: WeakSet[ExecuTorchEngine] = WeakSet()


@dataclass(frozen=True, kw_only=True)
class ExecuTorchOptions(TargetOptions):
    """How a `.pte` is lowered.

    Attributes:
        batch: the largest batch that is answered in one call; memory is planned for it.
    """

    batch: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 4096:
            raise ValueError(f"batch is {self.batch}, 1 to 4096 is possible")


class ExecuTorchEngine(Engine):
    """A loaded program.

    Attributes:
        capacity: the largest batch of one call; larger ones are split.
        delegated_share: the share of operators that XNNPACK runs; None where the file came without that figure.
    """

    def __init__(self, method: Method, path: Path, delegated_share: float | None) -> None:
        signature, self.capacity = program_signature(method, path)
        super().__init__(signature)
        self.delegated_share = delegated_share
        self._method = method
        _live.add(self)

    def _run(self, images: Images) -> Logits:
        starts = range(0, len(images), self.capacity)
        parts = [execute(self._method, images[start : start + self.capacity]) for start in starts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Drop the program."""
        if not self._closed:
            super().close()
            _live.discard(self)
            del self._method


class ExecuTorch(Target):
    """ExecuTorch's XNNPACK delegate; int8 on both sides, an operator runs in integers between two quantizers."""

    name = "executorch"
    scheme = SCHEMES["executorch"]
    options = ExecuTorchOptions
    on_device = OnDevice(packages=("torch", "executorch"), beside=(DELEGATION,))
    builds_with = (PROGRAMS,)

    def available(self) -> Availability:
        """Available where the `executorch` package imports, its XNNPACK delegate included."""
        try:
            there = runtime()._is_available(_BACKEND)
        except ImportError as error:
            return Availability(False, f"{reason_of(error)}; install it with: pip install 'edgeproof[executorch]'")
        if not there:
            return Availability(
                False, f"this executorch has no {_BACKEND}; install the one of the Python package index"
            )
        return Availability(True, versions={"executorch": version("executorch"), "torch": version("torch")})

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Lower the graph into `model.pte`, and prove that it answers as the graph does.

        `delegation.json` beside it says what XNNPACK runs of it.
        """
        self.check_available()
        chosen = options or ExecuTorchOptions()
        assert isinstance(chosen, ExecuTorchOptions)
        signature = read_signature(onnx_path)
        program = torch_program(onnx_path, self.scheme, NAME)
        free, batch = signature.batch is None, signature.batch or chosen.batch
        try:
            lowered = lower(program, signature.image_shape, batch=batch, free=free)
        except EdgeproofError as error:
            raise StageError(f"{onnx_path}: {NAME} refuses the model: {reason_of(error)}") from None
        out_dir.mkdir(parents=True, exist_ok=True)
        path = out_dir / PROGRAM
        path.write_bytes(lowered.content)
        (out_dir / DELEGATION).write_text(json.dumps(delegation(lowered), indent=1))
        engine = EngineFile.of(self.name, path, chosen)
        with self.load(engine, threads=threads) as loaded:
            _check_answers(loaded, program, onnx_path)
        return engine

    def load(self, engine: EngineFile, *, threads: int = 1) -> ExecuTorchEngine:
        """Load the program; all engines of a process share one thread pool, so they must be of one mind about it.

        Raises:
            StageError: see `Target.load`; or another engine is loaded with another number of threads.
        """
        self.check_available()
        engine.check()
        use_threads(threads, _live)
        return ExecuTorchEngine(open_program(engine.path), engine.path, _share_beside(engine.path))


def _check_answers(engine: Engine, program: nn.Module, onnx_path: Path) -> None:
    """Refuse what answers some noise otherwise than its torch program does.

    A layer more or less in integers is a step of the last quantizer; what the delegate misread was half of the range.
    """
    import torch

    count = engine.signature.batch or _CHECKED
    images = np.random.default_rng(0).random((count, *engine.signature.image_shape), np.float32)
    with torch.no_grad():
        expected = program(torch.from_numpy(images)).numpy()
    difference, extent = np.abs(engine(images) - expected).max(), np.ptp(expected)
    if not difference <= _TOLERANCE * extent + 1e-5:
        raise StageError(
            f"{onnx_path}: {NAME} misreads the model: its logits are off by {difference:.3g} where the graph's range "
            f"over {extent:.3g}; please report the graph"
        )


def delegation(lowered: Lowered) -> dict[str, Any]:
    """What XNNPACK runs of a program, as JSON-able data."""
    return {key: value for key, value in asdict(lowered).items() if key != "content"} | {"share": lowered.share}


def _share_beside(path: Path) -> float | None:
    try:
        return float(read_json(path.parent / DELEGATION)["share"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
