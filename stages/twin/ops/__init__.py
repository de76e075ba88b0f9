"""The operators, one file per family. Importing this package registers them all."""

from .. import quantize as quantize
from . import (
    activation,
    arithmetic,
    attention,
    casting,
    comparison,
    convolution,
    creation,
    grids,
    indexing,
    integer,
    linear,
    normalization,
    pooling,
    reduction,
    resizing,
    shaping,
    unary,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "casting",
    "comparison",
    "convolution",
    "creation",
    "grids",
    "indexing",
    "integer",
    "linear",
    "normalization",
    "pooling",
    "quantize",
    "reduction",
    "resizing",
    "shaping",
    "unary",
]
