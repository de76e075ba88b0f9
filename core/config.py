"""Config base: pydantic v2, unknown keys refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler


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
    "string_type": "text",
    "tuple_type": "a list in brackets",
}


def what_is_wrong(problem: Mapping[str, Any]) -> str:
    """A problem that pydantic found, in words that say what would be right: `must be at least 1`.

    Args:
        problem: of `ValidationError.errors()`.
    """
    if problem["type"] in _MUST_BE:
        return f"must be {_MUST_BE[problem['type']].format(**problem.get('ctx', {}))}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{message[0].lower()}{message[1:]}"
