"""Finder of a user's modules: the last that Python asks, and only for what the user's own code names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ..errors import UsageError
from .imports import imported_names

_INSTALLED = {"site-packages", "dist-packages"}


class Place(NamedTuple):
    """Where modules are looked for, for a process to go on from; `turn` tells one piece of work from the next."""

    folder: Path | None = None
    turn: int = 0


class UserModules(MetaPathFinder):
    """Finds the modules that a user's functions lie in, and those that these import of their neighbours.

    `sys.path` stays as it is, and installed modules come first: a `numpy.py` beside a recipe takes nobody's place.

    Attributes:
        place: the folder of the recipe, if there is one.
        served: the top-level modules that are found.
    """

    def __init__(self) -> None:
        self.place = Place()
        self.served: set[str] = set()

    @property
    def folders(self) -> list[str]:
        """Where modules are looked for: beside the recipe, then in the working directory."""
        return [str(folder) for folder in (self.place.folder, Path.cwd()) if folder is not None]

    def move(self, place: Place) -> None:
        """Look elsewhere from now on; what was found before is forgotten, and imported anew if need be."""
        for name in [name for name in sys.modules if name.partition(".")[0] in self.served]:
            del sys.modules[name]
        self.served.clear()
        self.place = place
        importlib.invalidate_caches()

    def serve(self, names: Iterable[str]) -> None:
        """Find these top-level modules from now on, where nothing else does."""
        self.served.update(name for name in names if _elsewhere(name) is None)
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What Python asks; modules inside a package are found by the package's own path."""
        return self.own(fullname) if path is None and fullname in self.served else None

    def own(self, name: str) -> ModuleSpec | None:
        """Find a top-level module in the folders, whether it is served or not; nothing is imported."""
        return PathFinder.find_spec(name, self.folders)


FINDER = UserModules()


def serve(module: str) -> None:
    """Make a user's module importable, with what it imports of its neighbours.

    Raises:
        UsageError: a file beside the recipe is called as an installed module is.
    """
    top = module.partition(".")[0]
    folder, theirs = FINDER.place.folder, _elsewhere(top)
    own = None if folder is None else PathFinder.find_spec(top, [str(folder)])
    # A folder of that name without an `__init__.py` says little; Python, too, prefers any module to it.
    if own is not None and theirs is not None and own.origin is not None and not _same(own, theirs):
        raise UsageError(
            f"{own.origin} and the installed module {top} ({theirs.origin or 'a package'}) have one name; call yours "
            "otherwise"
        )
    FINDER.serve({name.partition(".")[0] for name in reachable([module])} | {top})


def reachable(modules: Iterable[str]) -> dict[str, Path]:
    """Return a user's modules and the user's own modules that they import, found without importing any.

    The user's own are those of the same package, and those that lie beside it unless it is an installed one.

    Args:
        modules: absolute names.

    Returns:
        Absolute names and source files; what is not found is left out, and is an error later.
    """
    waiting = list(modules)
    packages = {name.partition(".")[0] for name in waiting}
    places = {place for package in packages for place in _places(package)}
    seen: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        source = None if name in seen else source_of(name)
        if source is None:
            continue
        seen[name] = source
        waiting += [
            imported
            for imported in _imports(name, source)
            if (top := imported.partition(".")[0]) in packages or places.intersection(_places(top))
        ]
    return dict(sorted(seen.items()))


def source_of(name: str) -> Path | None:
    """The source file of a module, by its absolute name; None where it has none, or is not there."""
    top, *rest = name.split(".")
    spec = _located(top)
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


def _located(top: str) -> ModuleSpec | None:
    """Find a top-level module as an import of the user's would, which imports nothing."""
    return _elsewhere(top) or FINDER.own(top)


def _elsewhere(top: str) -> ModuleSpec | None:
    """Find a top-level module where Python does without us."""
    if top in FINDER.served:
        return None
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # of a module that tells nothing of itself
        return None


def _same(one: ModuleSpec, other: ModuleSpec) -> bool:
    return bool(one.origin and other.origin) and Path(str(one.origin)).resolve() == Path(str(other.origin)).resolve()


def _places(package: str) -> set[Path]:
    """The folders in which a top-level module lies, unless installed modules do."""
    spec = _located(package)
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
