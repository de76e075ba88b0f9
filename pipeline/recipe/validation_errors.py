"""Validation errors as one line that names the key, its value, and what would be right."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ...core.config import what_is_wrong
from ...core.errors import UsageError
from ...core.registry import nearest

Model = TypeVar("Model", bound=BaseModel)

_SHOWN = 3
_LONGEST = 60
_LISTED = 3


def checked(model: type[Model], values: Any, where: str) -> Model:
    """Read a section; `where` stands before the key in messages, whose hyphens are an option's behind `--`.

    Raises:
        UsageError: names the key that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        said = one_line(error, model)
        if where.endswith("-"):
            key, colon, rest = said.partition(":")
            said = key.replace("_", "-") + colon + rest
        raise UsageError(where + said) from None


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first problems of a validation error in one line.

    Args:
        error: what pydantic found.
        model: the validated model, whose keys are offered for unknown ones.
    """
    found = error.errors(include_url=False)
    # A list whose entries are wrong is not too short as well.
    inside = {problem["loc"][:depth] for problem in found for depth in range(len(problem["loc"]))}
    problems = [_describe(each, model) for each in found if not (each["type"] == "too_short" and each["loc"] in inside)]
    more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _describe(problem: Any, model: type[BaseModel]) -> str:
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path) or "recipe"
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _keys(model, path[:-1])
        guess = nearest(path[-1], known)
        listed = f" (known: {', '.join(known)})" if known else ""
        return f"{where}: unknown key{guess}{listed}"
    if kind == "missing":
        return f"{where}: missing"
    message = problem["msg"].removeprefix("Value error, ") if kind == "value_error" else what_is_wrong(problem)
    value = problem["input"]
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        known = _keys(model, path)
        shown = [*known[:_LISTED], *(["..."] if len(known) > _LISTED else [])]
        message = "must be a section of keys" + (f" ({', '.join(shown)})" if known else "")
    if kind == "value_error":
        # A check across keys begins its message with the key it speaks of.
        joint = "." if path and re.match(r"[a-z0-9_.]+: ", message) else ": "
        told = isinstance(value, (dict, list, BaseModel)) or repr(value) in message
        return (f"{'.'.join(path)}{joint}{message}" if path else message) + ("" if told else f", got {_shown(value)}")
    return f"{where}: {message}, got {_shown(value)}"


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= _LONGEST else type(value).__name__


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys of the section at `path`."""
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            return []
        candidates = [field.annotation, *get_args(field.annotation)]
        found = [entry for entry in candidates if isinstance(entry, type) and issubclass(entry, BaseModel)]
        if not found:
            return []
        model = found[0]
    return list(model.model_fields)
