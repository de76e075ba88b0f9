"""Strict JSON: no key twice, no NaN, no Infinity, numbers and nesting within bounds."""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from .bounded import check_encodable, read_bounded

# Far above what is ever written: a report has some KiB, the bits of a device some MiB.
MOST = 32 << 20
_DEEPEST = 64
_LONGEST_NUMBER = 40


def read_json(path: Path) -> Any:
    """Read a JSON file; see `parse_json`.

    Raises:
        ValueError: as `parse_json`, or it is too large or no plain file.
        OSError: it is missing or cannot be read.
    """
    return parse_json(read_bounded(path, MOST))


def parse_json(content: bytes | str) -> Any:
    """Read a JSON document, which may come from anybody.

    Raises:
        ValueError: it is none, in UTF-8; a key is twice in one object; a number is NaN, infinite, or has more than 40
            characters; it is nested deeper than 64; or a text has a lone surrogate.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        found = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_number, parse_int=_int, parse_float=_float
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {_DEEPEST}") from None
    _check(found)
    return found


def _check(found: Any) -> None:
    """Look at every text, level by level."""
    level = [found]
    for depth in range(_DEEPEST + 1):
        inside = list[Any]()
        for value in level:
            if isinstance(value, str):
                check_encodable(value)
            elif isinstance(value, (dict, list)) and depth == _DEEPEST:
                raise ValueError(f"nested deeper than {_DEEPEST}")
            elif isinstance(value, dict):
                inside += [*value, *value.values()]
            elif isinstance(value, list):
                inside += value
        level = inside


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice[:40]!r} is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER or not isfinite(number := float(text)):
        raise ValueError(f"{text[:_LONGEST_NUMBER]} is too long or too large a number")
    return number
