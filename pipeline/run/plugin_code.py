"""Source modules of what a recipe names: registered things and a user's own, to which no import statement leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...stages.models import models
from ..store.user_code import function_modules


def module_of(thing: Any) -> str:
    """The module of something registered."""
    return str(thing.__module__)


def model_code(names: Sequence[str]) -> list[str]:
    """The modules of models, and the user's own modules that theirs import."""
    return [*(module_of(models[name]) for name in names), *function_modules(list(names))]
