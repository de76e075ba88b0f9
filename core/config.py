"""Config base: pydantic v2, unknown keys refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Config(BaseModel):
    """A frozen recipe section; a key nobody declared is an error, and so is NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


@dataclass(frozen=True)
class Listed:
    """Annotation of a key whose values a registry checks: their names in the JSON Schema, by which editors complete.

    As examples, not as all there are: a plug-in of somebody else's machine is no error in an editor.
    """

    names: Callable[[], Iterable[str]]

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the names to what the key's type says."""
        return {**handler(schema), "examples": list(self.names())}


@dataclass(frozen=True)
class Like:
    """Annotation of a text that must match a pattern, which is told in words.

    Attributes:
        pattern: a regular expression, as the JSON Schema has it.
        words: what it asks for: "64 hexadecimal digits".
    """

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after the text is one."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the pattern to what the key's type says."""
        return {**handler(schema), "pattern": self.pattern}

    def _checked(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"must be {self.words}")
        return text


_MUST_BE = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "finite_number": "finite",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list in brackets",
    "literal_error": "{expected}",
    "path_type": "a path",
    "string_type": "text",
    "string_unicode": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list in brackets",
}


def what_is_wrong(problem: Mapping[str, Any]) -> str:
    """A problem that pydantic found, in words that say what would be right: `must be at least 1`.

    Args:
        problem: of `ValidationError.errors()`.
    """
    if problem["type"] in _MUST_BE:
        context = {name: _number(value) for name, value in problem.get("ctx", {}).items()}
        return f"must be {_MUST_BE[problem['type']].format(**context)}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{message[0].lower()}{message[1:]}"


def _number(value: Any) -> Any:
    """A bound as people write it: 1 instead of 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
