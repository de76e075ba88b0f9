"""Which code made an artifact: a digest over a module and everything of ours that it imports."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "edgeproof."


def code_digest(*modules: str) -> str:
    """SHA-256 over the sources of the named modules and of all edgeproof modules they import.

    Imports are read from the syntax tree; a plug-in is found only when it is named.

    Args:
        modules: absolute names such as `edgeproof.stages.export`.
    """
    seen: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        source = _source(name)
        if source is None:
            continue
        seen[name] = source
        waiting += _imports(name, source)
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode())
        digest.update(seen[name].read_bytes())
    return digest.hexdigest()


def all_sources_digest() -> str:
    """SHA-256 over every source file of edgeproof, the templates of its pages among them."""
    digest = hashlib.sha256()
    for package in ("core", "pipeline", "stages", "targets"):
        source = _source(_PACKAGE + package)
        assert source is not None
        files = (path for path in source.parent.rglob("*") if path.suffix == ".py" or path.parent.name == "templates")
        for path in sorted(files):
            digest.update(str(path.relative_to(source.parent)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _source(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def _imports(name: str, source: Path) -> tuple[str, ...]:
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return tuple(entry for entry in found if entry.startswith(_PACKAGE))
