"""Config base: pydantic v2, unknown keys refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
