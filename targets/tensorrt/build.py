"""TensorRT builder: an ONNX file becomes a plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import BackendMissing, StageError, reason_of
from .api import Builder, BuilderConfig
from .library import Library
from .log import Line, listening, logger_of, words
from .misread_scales import refuse_misread
from .network import add_profile, parse, typed_network
from .options import PlanOptions

_WEIGHTS = re.compile(r"Total Weights Memory: (\d+) bytes")


@dataclass(frozen=True)
class Plan:
    """What a build yields.

    Attributes:
        content: the serialized plan.
        weight_bytes: what its weights take on the GPU, as the builder says; None where it does not.
        timing_cache: the timings of its kernels; None where the library keeps none.
    """

    content: bytes
    weight_bytes: int | None
    timing_cache: bytes | None


def build_plan(
    library: Library,
    path: Path,
    options: PlanOptions,
    configure: Callable[[BuilderConfig], None],
    *,
    threads: int,
    cached: bool,
) -> Plan:
    """Build a plan.

    Args:
        library: by which library.
        path: the ONNX file.
        options: what both flavours know.
        configure: sets what only one of them knows.
        threads: of the builder.
        cached: whether the library keeps timings of kernels.

    Raises:
        BackendMissing: the builder needs a GPU or a driver, and there is none.
        StageError: the graph is refused, or no plan can be built as it is asked for; with the library's own words.
    """
    refuse_misread(path, library.title)
    with listening(library) as lines:
        builder = _builder(library)
        builder.max_threads = threads
        network = typed_network(library.api, builder)
        parser = library.api.OnnxParser(network, logger_of(library))
        parse(library, parser, path, lines)
        config = builder.create_builder_config()
        _set(library, config, options)
        configure(config)
        add_profile(library, builder, network, config, options)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise StageError(f"{path}: {library.title} cannot build the engine: {words(lines)}")
        cache = config.get_timing_cache() if cached else None
        return Plan(bytes(plan), _weight_bytes(lines), None if cache is None else bytes(cache.serialize()))


def _builder(library: Library) -> Builder:
    try:
        return library.api.Builder(logger_of(library))
    except TypeError as error:  # how the bindings say that there is no driver
        raise BackendMissing(
            f"{library.title} builds with an NVIDIA driver and GPU only, none answers here ({reason_of(error)})"
        ) from None


def _set(library: Library, config: BuilderConfig, options: PlanOptions) -> None:
    api = library.api
    # What the inspector tells of layers is decided here.
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    flags = api.BuilderFlag
    if options.tf32:
        config.set_flag(flags.TF32)
    else:  # it is on by itself
        config.clear_flag(flags.TF32)
    if options.refittable:
        config.set_flag(flags.REFIT)
    if options.strip_weights:
        # Without REFIT this implies that the same weights come back: REFIT_IDENTICAL.
        config.set_flag(flags.STRIP_PLAN)


def _weight_bytes(lines: Iterable[Line]) -> int | None:
    found = [match for line in lines for match in [_WEIGHTS.search(line.text)] if match]
    return int(found[-1].group(1)) if found else None
