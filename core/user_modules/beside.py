"""Folder of the recipe that is being worked on, beside which its user's modules lie."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from .finder import FINDER, Place

P = ParamSpec("P")
T = TypeVar("T")


_turns = itertools.count(1)


def place() -> Place:
    """Where the user's modules are looked for now."""
    return FINDER.place


def adopt(there: Place) -> None:
    """Look where the process looks that this one works for.

    A worker outlives a piece of work: what it imported for the last one is imported anew.
    """
    if there != FINDER.place:
        FINDER.move(there)


@contextmanager
def modules_beside(folder: Path | None) -> Iterator[None]:
    """Look for the user's modules in a folder, for a while, before the working directory; each is imported anew."""
    before = place()
    adopt(Place(folder, next(_turns)))
    try:
        yield
    finally:
        adopt(before)


def modules_beside_recipe(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of a `recipe`, a file or None, to run with the modules beside it."""
    parameters = inspect.signature(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        recipe = parameters.bind(*args, **kwargs).arguments.get("recipe")
        with modules_beside(None if recipe is None else Path(recipe).absolute().parent):
            return function(*args, **kwargs)

    return run
