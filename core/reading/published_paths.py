"""Paths as published files have them: no home folder, and nothing that tells where on a machine files lie."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

# Before a path that begins there, so that no part of another one is taken for it.
_BEFORE = r"(?<![\w.~/-])"


def published_path(path: str | Path, run: Path | None = None) -> str:
    """Return a path as a report or a recipe in a run's folder may have it.

    Below the working directory it is relative, below the home folder it begins with `~/`; of any other place the file's
    name alone is left.

    Args:
        path: of a file or a folder.
        run: the folder that it is to be relative to, where both lie below the working directory.
    """
    given = Path(path)
    if run is None and not given.is_absolute() and ".." not in given.parts:
        return str(path)
    here, place = Path.cwd(), Path(os.path.realpath(given))
    if run is not None:
        run = Path(os.path.realpath(run))
        if place.is_relative_to(run) or (place.is_relative_to(here) and run.is_relative_to(here)):
            return os.path.relpath(place, run)
    elif place.is_relative_to(here):
        return str(place.relative_to(here))
    home = _home()
    return f"~/{place.relative_to(home)}" if home is not None and place.is_relative_to(home) else place.name


def without_places(text: object) -> str:
    """Return a text in which the working directory, the home folder and the folder of temporary files are left out."""
    found, home = str(text), _home()
    places = {Path(tempfile.gettempdir()): "", Path.cwd(): ""}
    if home is not None:
        places |= {home: "~/", Path(os.path.expanduser("~")): "~/"}
    for place in sorted(places, key=lambda place: -len(place.parts)):
        if place != place.parent:
            found = re.sub(f"{_BEFORE}{re.escape(str(place))}/", places[place], found)
    return found


def _home() -> Path | None:
    """The home folder; None where there is none, or it is the root of everything."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    return home if home.is_absolute() and home != home.parent else None
