"""Imports of a Python source, read from its syntax tree."""

from __future__ import annotations

import ast


def imported_names(content: bytes, package: str) -> list[str]:
    """Absolute names of what a module's source imports, modules or what may be in them.

    Args:
        content: the source.
        package: the package that relative imports start from.

    Raises:
        SyntaxError: it is no Python.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found
