"""User code that a recipe names as `package.module:function`, found without importing any of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...core.function import is_function
from .code_digest import imported_names

_INSTALLED = {"site-packages", "dist-packages"}


def function_modules(values: Any) -> dict[str, Path]:
    """Return the modules of all functions named anywhere in a recipe, and the user's own modules they import.

    The user's own are those of the same package, and those that lie beside it unless it is an installed one.

    Args:
        values: the recipe, or a part of it: mappings, lists and plain values.

    Returns:
        Absolute module names and their source files; what is not found is left out, and is an error later.
    """
    waiting = [name.partition(":")[0] for name in _functions(values)]
    packages = {name.partition(".")[0] for name in waiting}
    places = {place for package in packages for place in _places(package)}
    seen: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        source = None if name in seen else _source(name)
        if source is None:
            continue
        seen[name] = source
        waiting += [
            imported
            for imported in _imports(name, source)
            if (top := imported.partition(".")[0]) in packages or places.intersection(_places(top))
        ]
    return dict(sorted(seen.items()))


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


def _spec(package: str) -> ModuleSpec | None:
    """Find a top-level module, which imports nothing; the working directory counts, as it does for the function."""
    try:
        return find_spec(package) or PathFinder.find_spec(package, [str(Path.cwd())])
    except (ImportError, ValueError):
        return None


def _source(name: str) -> Path | None:
    top, *rest = name.split(".")
    spec = _spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *rest)
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if path.is_file():
                return path
    return None


def _places(package: str) -> set[Path]:
    """The folders in which a top-level module lies, unless installed modules do."""
    spec = _spec(package)
    if spec is None:
        return set()
    if spec.submodule_search_locations is not None:
        places = {Path(folder).parent for folder in spec.submodule_search_locations}
    else:
        places = {Path(spec.origin).parent} if spec.has_location and spec.origin else set()
    return {place for place in places if place.name not in _INSTALLED}


def _imports(name: str, source: Path) -> list[str]:
    try:
        return imported_names(source.read_bytes(), name if source.name == "__init__.py" else name.rpartition(".")[0])
    except SyntaxError:  # told when it is imported
        return []
