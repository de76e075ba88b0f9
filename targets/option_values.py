"""Target option values, checked against their types with nothing but the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..core.errors import UsageError
from ..core.reading.json_text import parse_json
from ..core.registry import nearest


def check_types(options: Any) -> None:
    """Raise ValueError for the first field of a dataclass whose value is not of its type."""
    kinds = get_type_hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        if not _fits(value, kinds[field.name]):
            raise ValueError(f"{field.name}: {_allowed(kinds[field.name])}, got {value!r}")


def read_options(kind: type[Any], lines: Sequence[str]) -> Any:
    """Read options as a command line has them, `name=value` each.

    Args:
        kind: the options' dataclass.
        lines: such as `hint=throughput`.

    Raises:
        UsageError: names the option that does not exist or has a wrong value, and what is allowed.
    """
    assert is_dataclass(kind), "options are a dataclass"
    known = {field.name: get_type_hints(kind)[field.name] for field in fields(kind)}
    found: dict[str, Any] = {}
    for line in lines:
        name, equals, text = line.partition("=")
        if not equals:
            raise UsageError(f"{line!r}: options are written name=value")
        if name not in known:
            listed = f" (known: {', '.join(known)})" if known else " (this target has none)"
            raise UsageError(f"{name}: unknown option{nearest(name, known)}{listed}")
        found[name] = text if _fits(text, known[name]) else _value(text)
    try:
        return kind(**found)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    # A bool is an int, but none that anybody means.
    return isinstance(value, origin or kind) and (kind is bool or not isinstance(value, bool))


def _allowed(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if origin in (Union, UnionType):
        return " or ".join(_allowed(each) for each in get_args(kind))
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}.get(
        kind, getattr(kind, "__name__", str(kind))
    )
