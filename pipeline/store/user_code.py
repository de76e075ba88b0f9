"""User code that a recipe names as `package.module:function`, found without importing any of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.function import is_function
from ...core.user_modules import reachable


def function_modules(values: Any) -> dict[str, Path]:
    """Return the modules of all functions named anywhere in a recipe, and the user's own modules they import.

    The user's own are those of the same package, and those that lie beside it unless it is an installed one.

    Args:
        values: the recipe, or a part of it: mappings, lists and plain values.

    Returns:
        Absolute module names and their source files; what is not found is left out, and is an error later.
    """
    return reachable(name.partition(":")[0] for name in _functions(values))


def functions_digest(recipe: Any) -> str:
    """SHA-256 over the sources of the user's own functions that a recipe names; an empty string without any."""
    modules = function_modules(recipe)
    if not modules:
        return ""
    digest = hashlib.sha256()
    for name, source in modules.items():
        digest.update(name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _functions(values: Any) -> Iterator[str]:
    if isinstance(values, str) and is_function(values):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _functions(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from _functions(value)
