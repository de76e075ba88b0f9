"""Agreement of a route: on how many samples the bits that it left are the final ones."""

from __future__ import annotations

import numpy as np

from .base import ROBUST, BitColumns, Figure, Interval, Subject, figures
from .reading import number

# `<route>_agreement` is a figure of every route.
AGREEMENT = "_agreement"
# What the columns of the routes hold besides: the threat of 8-bit images, folded in after them.
FOLDED_IN = ("rounded",)


def route_agreement(route: str) -> Figure:
    """The share of the samples on which the bits after a route are the final ones: no later route broke them.

    Bits are cumulative and every route runs on what the ones before left standing, so this is 1 less what the later
    routes took from the robust accuracy.
    """

    def value(subject: Subject) -> float | None:
        after, final = number("routes", route)(subject), number("robust_accuracy")(subject)
        return None if after is None or final is None else 1.0 - (after - final)

    def interval(subject: Subject) -> Interval | None:
        from ...stages.statistics.proportions import clopper_pearson

        found, samples = value(subject), number("samples")(subject)
        if found is None or samples is None or "sequential" in subject:
            return None
        return clopper_pearson(round(found * samples), round(samples))

    def bits(columns: BitColumns) -> np.ndarray | None:
        return columns[route] == columns[ROBUST] if {route, ROBUST} <= columns.keys() else None

    return Figure(
        f"{route}{AGREEMENT}",
        f"agreement after {route}",
        "share",
        value,
        interval,
        bits,
        attacked=True,
        help="share of the samples on which what this route left standing is what all routes left standing",
        advice="Later attacks broke what this one left: gradients are hidden, or the attack is too weak.",
        place=60,
    )


@figures.family("", form=f"<route>{AGREEMENT}", members=lambda: ())
def _named(name: str) -> Figure:
    """Share of the samples on which what a registered route left standing is what all routes left standing."""
    route = name.removesuffix(AGREEMENT)
    if route in ("", name):
        raise KeyError(name)
    return route_agreement(route)
