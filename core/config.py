"""The base of every configuration section: pydantic v2, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen recipe section; a key nobody declared is an error, never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
