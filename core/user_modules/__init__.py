"""User modules: Python files beside a recipe, or in the working directory, that no path of Python's leads to."""

from .beside import adopt, modules_beside, modules_beside_recipe, place
from .fault_line import fault_line
from .finder import Place, reachable, serve, source_of
from .imports import imported_names

__all__ = [
    "Place",
    "adopt",
    "fault_line",
    "imported_names",
    "modules_beside",
    "modules_beside_recipe",
    "place",
    "reachable",
    "serve",
    "source_of",
]
