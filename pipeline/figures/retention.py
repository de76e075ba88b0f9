"""Retention: how much of its float student's robust accuracy an engine keeps."""

from __future__ import annotations

from .base import Column, Figure, register
from .reading import interval, number

register(
    Figure(
        "retention",
        "retention",
        "retention",
        number("retention"),
        interval("retention_ci"),
        attacked=True,
        help="the engine's robust accuracy over its float student's, on the same samples",
        advice="The float student keeps more than the engine, so quantization costs it: try `recover: {epochs: 10}`, "
        "or a scale per channel (`quantize`).",
        column=Column(
            {"text": "retention", "page": "retention", "runs": "retention", "card": "retention [95 %]"},
            bounded=("page", "card"),
            note=lambda _, medium: "Retention: robust accuracy over the float student's." if medium == "page" else "",
        ),
        place=40,
    )
)
