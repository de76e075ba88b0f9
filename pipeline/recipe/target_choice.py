"""Target choice: one entry of a recipe's `targets`, a name or a name with the target's own options."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from ...core.config import what_is_wrong
from ...core.registry import nearest
from ...targets.base import TargetOptions, targets


class _Checked:
    """Tells pydantic how an entry is checked, and editors what it may be."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        with_options = {name: TypeAdapter(each.options).json_schema() for name, each in targets.loaded().items()}
        return {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": with_options,
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }


TargetChoice = Annotated[str | dict[str, dict[str, Any]], _Checked()]


def chosen_targets(choices: tuple[TargetChoice, ...]) -> dict[str, TargetOptions]:
    """The targets by name in recipe order, each with its options.

    Raises:
        ValueError: one is there twice.
    """
    found: dict[str, TargetOptions] = {}
    for choice in choices:
        name, options = (choice, {}) if isinstance(choice, str) else next(iter(choice.items()))
        if name in found:
            raise ValueError(f"{name}: is there twice")
        found[name] = targets[name].options(**options)
    return found


def _checked(choice: Any) -> str | dict[str, dict[str, Any]]:
    """Check an entry; options that are the target's own choice are left out, so that they are one recipe."""
    if isinstance(choice, str):
        return targets.check(choice)
    if not isinstance(choice, dict) or len(choice) != 1:
        raise ValueError(f"a target's name, or {{name: options}}, got {choice!r}")
    name, given = next(iter(choice.items()))
    kind = targets[targets.check(name)].options
    try:
        chosen = TypeAdapter(kind).validate_python({} if given is None else given).chosen
    except ValidationError as error:
        raise ValueError(f"{name}{_told(error, kind)}") from None
    return {name: chosen} if chosen else name


def _told(error: ValidationError, kind: type[TargetOptions]) -> str:
    """The first problem of a target's options, as what follows the target's name."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "dataclass_type":
        return f": options as {{name: value}}, got {problem['input']!r}"
    path = "".join(f".{part}" for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        known = [field.name for field in fields(kind)]
        listed = f" (known: {', '.join(known)})" if known else " (this target has none)"
        return f"{path}: unknown option{nearest(path.removeprefix('.'), known)}{listed}"
    if not path:  # of `__post_init__`, which begins with the option
        return f".{problem['msg'].removeprefix('Value error, ')}"
    return f"{path}: {what_is_wrong(problem)}, got {problem['input']!r}"
