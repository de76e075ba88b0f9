"""Device engine: the bundle's own, one that is built here, or one that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import BackendMissing, UsageError
from ....core.writing.scratch import scratch_folder
from ....targets.base import EngineFile, Target, TargetOptions
from ....targets.option_values import read_options
from ..contents import BundledEngine


@dataclass(frozen=True)
class FoundEngine:
    """An engine on this device.

    Attributes:
        file: the file.
        origin: `bundle`, `built` (here, from the bundle's ONNX file) or `given`.
        kept: where it will be, if it was built here.
    """

    file: EngineFile
    origin: str
    kept: Path | None = None


def options_here(runtime: Target, entry: BundledEngine, lines: Sequence[str]) -> TargetOptions:
    """The options of an engine: those that a command line has, `name=value` each, or the run's.

    Raises:
        UsageError: they are no options of this target.
    """
    if lines or runtime.name != entry.target:
        return read_options(runtime.options, lines)
    try:
        return runtime.options(**entry.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{entry.name}: no options of target {runtime.name!r}: {error}") from None


@contextmanager
def engine_here(
    folder: Path, entry: BundledEngine, runtime: Target, options: TargetOptions, given: str | Path | None, keep: Path
) -> Iterator[FoundEngine]:
    """The engine's file; one that is built here is kept only where all that follows goes well.

    Args:
        folder: the bundle's.
        entry: the engine as the bundle lists it.
        runtime: what runs it here.
        options: how.
        given: an engine that was built here before; None for the bundle's own, or one that is built now.
        keep: where an engine that is built now is kept.

    Raises:
        UsageError: there is no such file, nothing to build from, or an engine in the place already.
        BackendMissing: something is not installed that the target builds with.
        StageError: the runtime refuses the graph.
    """
    if given is not None:
        if not Path(given).is_file():
            raise UsageError(f"{given}: no such file")
        yield FoundEngine(EngineFile.of(runtime.name, Path(given), options), "given")
    elif runtime.name == entry.target and entry.engine is not None:
        yield FoundEngine(EngineFile.of(runtime.name, folder / entry.engine, options), "bundle")
    elif entry.graph is None:
        raise UsageError(f"{entry.name}: the bundle holds no ONNX file of it, from which {runtime.name} could be built")
    elif runtime.runs_graph:
        yield FoundEngine(EngineFile.of(runtime.name, folder / entry.graph, options), "bundle")
    else:
        yield from _built(folder / entry.graph, runtime, options, keep / entry.name / runtime.name)


def _built(graph: Path, runtime: Target, options: TargetOptions, kept: Path) -> Iterator[FoundEngine]:
    if kept.exists():
        raise UsageError(f"{kept}: there is an engine already; name its file after the bundle, or remove it")
    with ExitStack() as stack:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(scratch_folder(kept.parent))
        except OSError as error:
            raise UsageError(f"--keep {kept}: cannot be written ({error.strerror})") from None
        try:
            file = runtime.build(graph, partial, options=options)
        except ModuleNotFoundError as error:
            needed = error.name
            raise BackendMissing(f"target {runtime.name!r}: builds with {needed}; pip install {needed}") from None
        yield FoundEngine(file, "built", kept / file.path.relative_to(partial))
        partial.rename(kept)
