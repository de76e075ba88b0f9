"""Recipe reader, before anything heavy is imported to validate it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...core.errors import UsageError, reason_of
from ...core.function import is_function
from ...core.reading.bounded import check_encodable
from ...core.reading.yaml_text import parse_yaml, read_yaml

# The keys that name a file, and those that name a folder.
FILES = (
    ("data", "extra"),
    ("teacher", "checkpoint"),
    ("teacher", "train", "warm_start"),
    ("natural_teacher", "checkpoint"),
    ("natural_teacher", "train", "warm_start"),
    ("distill", "warm_start"),
    ("adapter", "label_map"),
    ("surrogate_adapter", "label_map"),
)
FOLDERS = (("data", "root"),)
# The keys that list files.
LISTS = (("verify", "packs"),)
_SHOWN = 60


def read_recipe(path: Path, overrides: Sequence[str] = (), data_root: str | Path | None = None) -> dict[str, Any]:
    """Read a recipe file and apply `a.b=c` overrides, without validating it yet.

    A relative path in the file is relative to the file; in an override and in `data_root`, to the working
    directory.

    Args:
        path: the file.
        overrides: replacements of keys.
        data_root: replaces `data.root`, whatever the file and the overrides say.

    Raises:
        UsageError: the file is missing or no YAML mapping, or an override is not of the form a.b=c.
    """
    try:
        raw = read_yaml(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such recipe file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid YAML: not in UTF-8 (byte {error.start})") from None
    except ValueError as error:
        reason = reason_of(error)
        raise UsageError(f"{path}: not valid YAML{'' if reason.startswith('at ') else ':'} {reason}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: a recipe is a mapping of sections (schema_version, name, data, ...)")
    try:
        _make_absolute(raw, path.parent)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    for override in overrides:
        apply_override(raw, override)
    if data_root is not None and isinstance(raw.get("data"), dict):
        raw["data"]["root"] = str(data_root)
    try:
        _make_absolute(raw, Path.cwd())
    except ValueError as error:
        raise UsageError(f"--set {error}") from None
    return raw


def _make_absolute(raw: dict[str, Any], folder: Path) -> None:
    for *sections, key in (*FILES, *FOLDERS):
        keys: Any = raw
        for section in sections:
            keys = keys.get(section) if isinstance(keys, dict) else None
        if isinstance(keys, dict) and isinstance(keys.get(key), str):
            keys[key] = _absolute(keys[key], folder, ".".join((*sections, key)))
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str) and _is_path(data["dataset"]):
        data["dataset"] = _absolute(data["dataset"], folder, "data.dataset")
    for section, key in LISTS:
        if isinstance(raw.get(section), dict) and isinstance(raw[section].get(key), list):
            files = raw[section][key]
            raw[section][key] = [
                _absolute(file, folder, f"{section}.{key}") if isinstance(file, str) else file for file in files
            ]


def _is_path(dataset: str) -> bool:
    """Whether a data set is named by a path, told without looking at what is registered."""
    return not is_function(dataset) and (os.sep in dataset or dataset.lower().endswith(".npz"))


def _absolute(file: str, folder: Path, key: str) -> str:
    """Raise ValueError, naming the key, where there is no such user, links go round, or no system has such a path."""
    try:
        # `./~name` is a file of that name; Path drops the `./`.
        named = Path(file) if file.startswith(".") else Path(file).expanduser()
        found = (folder / named).resolve()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # said by whoever reads it
            found.stat()
        return str(found)
    except (RuntimeError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise ValueError(f"{key}: {file[:_SHOWN]!r} is no path here ({reason.removesuffix('.')})") from None


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Replace one key of a recipe, as `--set section.key=value` says.

    Raises:
        UsageError: it is not of that form.
    """
    try:
        check_encodable(override)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from None
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise UsageError(f"--set {override!r}: must be of the form section.key=value")
    try:
        value = parse_yaml(text)
    except ValueError:
        value = text  # `>= 0.9` is no YAML, but a fine limit
    place: Any = raw
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UsageError(f"--set {override!r}: {'.'.join(keys[:-1])} is not a section")
    place[keys[-1]] = value
