"""The table of figures: all that are registered, and an agreement for every route."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from ...core.errors import UsageError
from ...core.registry import nearest
from .base import GROUP, Figure, Subject, figures
from .route_agreement import AGREEMENT, FOLDED_IN, route_agreement


def every(routes: Iterable[str] = ()) -> list[Figure]:
    """All figures, shown ones too, as they are listed.

    Args:
        routes: whose agreements are among them.
    """
    known = [figure for name, figure in figures.loaded().items() if _problem(name, figure) is None]
    found = [*known, *(route_agreement(route) for route in routes)]
    return sorted(found, key=lambda figure: (figure.place, "" if figure.name.endswith(AGREEMENT) else figure.name))


def gated(routes: Iterable[str] = ()) -> list[Figure]:
    """Those of `every` that gates can be set on."""
    return [figure for figure in every(routes) if figure.kind != "shown"]


def find_figure(name: str) -> Figure | None:
    """A figure that gates can be set on; None where there is none of that name. Any route may have an agreement.

    Raises:
        UsageError: it is a plug-in's that is broken.
    """
    if name in figures.names():
        found = figures[name]
        if problem := _problem(name, found):
            raise UsageError(f"the plug-in figure {name!r} {problem}")
        return None if found.kind == "shown" else found
    route = name.removesuffix(AGREEMENT)
    return route_agreement(route) if route not in ("", name) else None


def _problem(name: str, found: object) -> str | None:
    if not isinstance(found, Figure):
        return f"is a {type(found).__name__}, no Figure"
    return None if found.name == name else f"is registered under another name than its own, {found.name!r}"


def figure_named(name: str, routes: Iterable[str] | None = None) -> Figure:
    """Return a figure that gates can be set on.

    Args:
        name: the figure's.
        routes: those that have an agreement; any, where it is not known which there are.

    Raises:
        UsageError: there is none of that name; the nearest one is offered.
    """
    found, theirs = find_figure(name), list(routes or ())
    known = [figure.name for figure in gated(theirs)]
    if found is not None and (name in known or routes is None):
        return found
    listed = known if routes is not None else [*known, f"<route>{AGREEMENT}"]
    raise UsageError(f"unknown figure {name!r}{nearest(name, known)} (known: {', '.join(listed)})")


def routes_of(subjects: Iterable[Subject]) -> list[str]:
    """The routes that attacked the engines of a report, in their order."""
    found: dict[str, None] = {}
    for subject in subjects:
        left = subject.get("routes")
        found |= dict.fromkeys(map(str, left)) if subject["kind"] == "engine" and isinstance(left, Mapping) else {}
    return [route for route in found if route not in FOLDED_IN]


def modules() -> list[str]:
    """The modules of all figures, for the digest of the code that draws pages: no import statement leads to them."""
    package = __name__.rpartition(".")[0]
    ours = (f"{package}.{module.name}" for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted({*ours, *(point.module for point in entry_points(group=GROUP))})
