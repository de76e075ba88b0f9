"""The rules, one module a concept; they are asked in this order."""

from . import (  # noqa: I001  (the order of the findings)
    files,
    constants,
    operators,
    coverage,
    parameters,
    activations,
    weights,
    biases,
    pairs,
    fusion,
)

__all__ = [
    "activations",
    "biases",
    "constants",
    "coverage",
    "files",
    "fusion",
    "operators",
    "pairs",
    "parameters",
    "weights",
]
