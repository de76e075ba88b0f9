"""Code digest: a module and everything of ours that it imports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...core.user_modules import imported_names, source_of
from .import_cache import ImportCache

_PACKAGE = "edgeproof."


def code_digest(*modules: str) -> str:
    """SHA-256 over the sources of the named modules and of all edgeproof modules they import.

    Imports are read from the syntax tree; a plug-in is found only when it is named. Nothing of ours is imported.

    Args:
        modules: absolute names such as `edgeproof.stages.export`.

    Raises:
        ValueError: a module of edgeproof's is named that is not there, so that its code would count for nothing.
    """
    digest = hashlib.sha256()
    for name, content in sorted(sources(*modules).items()):
        digest.update(name.encode())
        digest.update(content)
    return digest.hexdigest()


def sources(*modules: str) -> Mapping[str, bytes]:
    """Return the modules that `code_digest` looks at, and the content of their files; arguments as there."""
    for name in modules:
        if name.startswith(_PACKAGE) and _source(name) is None:
            raise ValueError(f"{name}: no module of edgeproof's")
    seen: dict[str, bytes] = {}
    waiting = list(modules)
    with _cache() as known:
        while waiting:
            name = waiting.pop()
            source = None if name in seen else _source(name)
            if source is None:
                continue
            seen[name] = content = source.read_bytes()
            package = name if source.name == "__init__.py" else name.rpartition(".")[0]
            waiting += known.imports(content, package, _imports)
    return seen


def all_sources_digest() -> str:
    """SHA-256 over every source file of edgeproof, the templates of its pages among them."""
    digest = hashlib.sha256()
    for package in ("core", "pipeline", "stages", "targets"):
        source = _source(_PACKAGE + package)
        assert source is not None
        digest.update(folder_digest(source.parent).encode())
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over every Python file and template below a folder, and their paths in it."""
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.suffix == ".py" or path.parent.name == "templates")
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _cache() -> ImportCache:
    return ImportCache.of_user()


def _source(name: str) -> Path | None:
    # A user's own may lie beside another recipe the next time.
    return _own_source(name) if name.startswith(_PACKAGE) else source_of(name)


@cache
def _own_source(name: str) -> Path | None:
    # By its path: looking for a name inside a module would import the module, and all that it imports.
    _, floor, *rest = name.split(".")
    top = _found(_PACKAGE + floor)
    if top is None or not rest:
        return top
    place = top.parent.joinpath(*rest)
    return next((path for path in (place / "__init__.py", place.parent / f"{place.name}.py") if path.is_file()), None)


def _found(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(content: bytes, package: str) -> list[str]:
    return [entry for entry in imported_names(content, package) if entry.startswith(_PACKAGE)]
