"""TensorRT targets: a plan is built from an ONNX file, and only what was built here is loaded."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import BackendMissing, ModelError, StageError, UsageError, reason_of
from ...core.model_file import copy_model, digest_of, sha256_of
from ..base import Availability, EngineFile, Target, TargetOptions
from ..gpu import gpu_here, gpu_name
from ..on_device import OnDevice
from ..schemes import SCHEMES
from ..signature import read_signature
from .api import BuilderConfig
from .build import build_plan
from .engine import PlanEngine, open_plan
from .library import Library, tensorrt_library
from .options import PlanOptions, TensorRtOptions
from .plan.compatibility import wrong_gpu, wrong_version
from .plan.inspector import precisions, quantized_operators, read_layers
from .plan.record import Sheet, read_sheet

PLAN = "model.plan"
# The weights of a stripped plan.
WEIGHTS = "model.onnx"
TIMINGS = "timing.cache"
LAYERS = "layers.json"


class PlanTarget(Target):
    """What both flavours share."""

    extra: ClassVar[str]
    keeps_timings: ClassVar[bool]

    @abstractmethod
    def _import(self) -> Library:
        """Import the library; ImportError or OSError where it is not there."""

    @abstractmethod
    def _configure(self, library: Library, config: BuilderConfig, options: Any) -> None:
        """Set what only this flavour knows; StageError where the library does not take it."""

    def _library(self) -> Library:
        try:
            return self._import()
        except (ImportError, OSError) as error:
            raise BackendMissing(
                f"target {self.name!r}: {reason_of(error)}; install it with: pip install 'edgeproof[{self.extra}]'"
            ) from None

    def tied_to(self) -> str | None:
        """The GPU."""
        return gpu_name()

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Build `model.plan` with its sheet; where there is a GPU that it fits, prove that it loads.

        Then `layers.json` is written as well: how each quantized operator is computed, and what the engine inspector
        says of all layers.
        """
        read_signature(onnx_path)
        library, wanted = self._library(), self._options(options)
        self._check(wanted)
        onnx_sha256, gpu = digest_of(onnx_path), gpu_here()
        plan = build_plan(
            library,
            onnx_path,
            wanted,
            lambda config: self._configure(library, config, wanted),
            threads=threads,
            cached=self.keeps_timings,
        )
        out_dir.mkdir(parents=True, exist_ok=True)
        path = out_dir / PLAN
        path.write_bytes(plan.content)
        if wanted.strip_weights:
            copy_model(onnx_path, out_dir, WEIGHTS)
        timings = None
        if plan.timing_cache is not None:
            (out_dir / TIMINGS).write_bytes(plan.timing_cache)
            timings = sha256_of(out_dir / TIMINGS)
        engine = EngineFile.of(self.name, path, wanted)
        sheet = Sheet(
            self.name, engine.sha256, onnx_sha256, library.version, gpu, wanted.chosen, plan.weight_bytes, timings
        )
        sheet.write(path)
        if gpu is not None and wrong_gpu(sheet, wanted, gpu) is None:
            with self.load(engine, threads=threads) as loaded:
                (out_dir / LAYERS).write_text(_told(loaded, onnx_path))
        return engine

    def load(self, engine: EngineFile, *, threads: int = 1) -> PlanEngine:
        """Load a plan whose sheet was written and sealed here, for this GPU and this version of the library."""
        library = self._library()
        engine.check()
        content = engine.path.read_bytes()  # once: what was checked is what runs
        sheet = read_sheet(engine.path, hashlib.sha256(content).hexdigest())
        built = f"{engine.path}: "
        if sheet.target != self.name:
            raise StageError(f"{built}built by target {sheet.target!r}, this is {self.name!r}")
        options = self._options_of(sheet, engine)
        if problem := wrong_version(sheet, options, library.title, library.version):
            raise StageError(f"{built}{problem}; build it again from the ONNX file")
        weights = _weights(engine.path, sheet) if options.strip_weights else None
        gpu = gpu_here()
        if gpu is None:
            raise BackendMissing(f"target {self.name!r}: {self._no_gpu(library)}")
        if problem := wrong_gpu(sheet, options, gpu):
            raise StageError(f"{built}{problem}; build it again from the ONNX file")
        host_code = isinstance(options, TensorRtOptions) and options.version_compatible
        return open_plan(library, engine.path, content, threads=threads, host_code=host_code, weights=weights)

    def _options_of(self, sheet: Sheet, engine: EngineFile) -> PlanOptions:
        if engine.options and dict(engine.options) != dict(sheet.options):
            raise StageError(
                f"{engine.path}: built with options {dict(sheet.options)}, {dict(engine.options)} are asked for; "
                "build it again from the ONNX file"
            )
        return self.options_of(EngineFile(engine.target, engine.path, engine.sha256, sheet.options))

    def _options(self, options: TargetOptions | None) -> Any:
        chosen = self.options() if options is None else options
        if not isinstance(chosen, self.options):
            raise UsageError(f"target {self.name!r} takes {self.options.__name__}, got {type(chosen).__name__}")
        return chosen

    def _check(self, options: Any) -> None:
        """Raise where the options cannot be met here, before anything is built."""

    def _no_gpu(self, library: Library) -> str:
        return f"{library.title} {library.version} is installed, but torch finds no NVIDIA GPU here"


class TensorRt(PlanTarget):
    """TensorRT: symmetric int8, and a GPU for building as for running."""

    name = "tensorrt"
    scheme = SCHEMES["tensorrt"]
    options = TensorRtOptions
    on_device = OnDevice(
        by_hand="TensorRT's Python bindings for this machine's Python, torch with CUDA, and "
        "`pip install numpy typer onnx`",
        portable=False,
    )
    extra = "tensorrt"
    keeps_timings = True

    def available(self) -> Availability:
        """Available where the `tensorrt` package imports and there is a GPU; on a Jetson, JetPack has the package."""
        try:
            library = self._library()
        except BackendMissing as error:
            return Availability(False, _without_target(error))
        if gpu_here() is None:
            reason = f"{self._no_gpu(library)}; it can neither build nor run engines"
            return Availability(False, reason, library.distributions)
        return Availability(True, versions=library.distributions)

    def _import(self) -> Library:
        return tensorrt_library()

    def _configure(self, library: Library, config: BuilderConfig, options: TensorRtOptions) -> None:
        api = library.api
        config.builder_optimization_level = options.optimization_level
        if options.version_compatible:
            config.set_flag(api.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatibility != "none":
            level = getattr(api.HardwareCompatibilityLevel, options.hardware_compatibility.upper(), None)
            if level is None:
                wanted = options.hardware_compatibility
                raise UsageError(f"{library.title} {library.version} has no hardware_compatibility {wanted!r}")
            config.hardware_compatibility_level = level
        timings = _pinned(options)
        if not config.set_timing_cache(config.create_timing_cache(timings), False):
            raise StageError(
                f"timing cache {options.timing_cache}: made by another version of {library.title}, or on another GPU"
            )
        if timings:
            config.set_flag(api.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)


def _pinned(options: TensorRtOptions) -> bytes:
    """The content of the timing cache that the options name; empty where they name none."""
    if options.timing_cache is None:
        return b""
    try:
        content = Path(options.timing_cache).read_bytes()
    except OSError as error:
        raise UsageError(f"timing cache {options.timing_cache}: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != options.timing_cache_sha256:
        raise UsageError(
            f"timing cache {options.timing_cache}: its SHA-256 is {found}, not {options.timing_cache_sha256}: another "
            "file, or it was altered"
        )
    return content


def _weights(plan: Path, sheet: Sheet) -> Path:
    path = plan.with_name(WEIGHTS)
    try:
        intact = digest_of(path) == sheet.onnx_sha256
    except (ModelError, OSError) as error:
        raise StageError(f"{plan}: a stripped plan needs the ONNX file beside it: {reason_of(error)}") from None
    if not intact:
        raise StageError(f"{path}: not the ONNX file that {plan.name} was built from; build it again")
    return path


def _told(engine: PlanEngine, onnx_path: Path) -> str:
    text = engine.layers()
    try:
        told = {"precision": precisions(read_layers(text), quantized_operators(onnx_path))}
    except StageError as error:  # the engine is none the worse for it
        told = {"problem": str(error)}
    return json.dumps({**told, "inspector": text}, indent=1)


def _without_target(error: BackendMissing) -> str:
    return str(error).partition(": ")[2]
