"""Strongly typed network from an ONNX file: every type is the file's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...core.errors import StageError
from .api import Api, Builder, BuilderConfig, Network, OnnxParser, ParserError
from .library import Library
from .log import Line, readable, words
from .misread_scales import WARNINGS
from .options import PlanOptions


def typed_network(api: Api, builder: Builder) -> Network:
    """An empty network that takes no type but the graph's: 10.3 has to be asked for it, 11 knows nothing else."""
    return builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def parse(library: Library, parser: OnnxParser, path: Path, lines: Iterable[Line]) -> None:
    """Read a file into the parser's network.

    Args:
        library: whose parser it is.
        parser: made for the network.
        path: the ONNX file.
        lines: what the library says meanwhile.

    Raises:
        StageError: the parser refuses the file, or takes it for another; with operator, node and its own words.
    """
    refused = f"{path}: {library.title} refuses the model: "
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise StageError(refused + ("; ".join(_told(error) for error in errors) or words(lines)))
    for line in tuple(lines):
        if line.severity == "WARNING" and any(sign in line.text for sign in WARNINGS):
            raise StageError(f"{refused}its parser would compute something else: {readable(line.text)}")


def add_profile(
    library: Library, builder: Builder, network: Network, config: BuilderConfig, options: PlanOptions
) -> None:
    """Say which batch sizes a network of free batch size is for.

    Raises:
        StageError: the library does not take them.
    """
    profile, free = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        assert tensor is not None, "the index is in range"
        batch, *image = tensor.shape
        if batch != -1:
            continue
        free = True
        sizes = (options.min_batch, options.opt_batch, options.max_batch)
        least, best, most = ((size, *image) for size in sizes)
        profile.set_shape(tensor.name, least, best, most)
    if free and config.add_optimization_profile(profile) < 0:
        raise StageError(f"{library.title} does not take batch sizes {options.min_batch} to {options.max_batch}")


def _told(error: ParserError) -> str:
    where = f"{error.node_operator()} {error.node_name()!r}" if error.node_operator() else "the file"
    return f"{where}: {readable(error.desc())} ({error.code().name})"
