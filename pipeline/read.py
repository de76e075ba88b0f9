"""Reading a recipe file, before anything heavy is imported to validate it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..targets.errors import UsageError


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe file and apply `a.b=c` overrides, without validating it yet.

    A relative `teacher.checkpoint` in the file is relative to the file; in an override, to the working
    directory.

    Raises:
        UsageError: the file is missing or no YAML mapping, or an override is not of the form a.b=c.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such recipe file")
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}: not valid YAML{where}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: a recipe is a mapping of sections (schema_version, name, data, ...)")
    teacher = raw.get("teacher")
    if isinstance(teacher, dict) and isinstance(teacher.get("checkpoint"), str):
        teacher["checkpoint"] = str((path.parent / teacher["checkpoint"]).resolve())
    for override in overrides:
        _apply(raw, override)
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise UsageError(f"--set {override!r}: must be of the form section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text  # `>= 0.9` is no YAML, but a fine limit
    place: Any = raw
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UsageError(f"--set {override!r}: {'.'.join(keys[:-1])} is not a section")
    place[keys[-1]] = value
