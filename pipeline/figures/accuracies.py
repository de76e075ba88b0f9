"""Clean accuracy, and robust accuracy in the worst case over all routes, of any images and of 8-bit ones."""

from __future__ import annotations

from .base import ROBUST, Column, Figure, register
from .reading import column, interval, number

_CLEAN, _ROBUST, _EIGHT_BIT = "clean_accuracy", "robust_accuracy", "robust_accuracy_8bit"

register(
    Figure(
        _CLEAN,
        "clean accuracy",
        "share",
        number(_CLEAN),
        interval(f"{_CLEAN}_ci"),
        column("clean_correct"),
        help="share of the test samples that are classified correctly as they are",
        advice="See what changed in training; `edgeproof compare A B --figure clean` lists what was lost.",
        column=Column({"text": "clean", "page": "clean", "runs": "clean", "card": "clean [95 %]"}),
        place=10,
    ),
    Figure(
        _ROBUST,
        "robust accuracy",
        "share",
        number(_ROBUST),
        interval(f"{_ROBUST}_ci"),
        column(ROBUST),
        attacked=True,
        help="share of the test samples that withstand every route",
        traced=True,
        column=Column(
            {"text": "robust [95 %]", "page": "robust", "runs": "robust", "card": "robust [95 %]"},
            bounded=("text", "page", "runs", "card"),
            changes={"text": "change", "page": "change"},
        ),
        place=20,
    ),
    Figure(
        _EIGHT_BIT,
        "robust accuracy on 8-bit images",
        "share",
        number(_EIGHT_BIT),
        interval(f"{_EIGHT_BIT}_ci"),
        column("robust_8bit"),
        attacked=True,
        help="share of the test samples that withstand every image of 8 bits, as cameras deliver them",
        traced=True,
        column=Column({"card": "robust, 8-bit images"}),
        place=30,
    ),
)
