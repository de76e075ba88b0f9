"""Model size: of the engine's file, and over the float ONNX file's."""

from __future__ import annotations

from .base import Column, Figure, Subject, register
from .reading import number

_ADVICE = "Prune (`prune: {ratio: 0.3}`), or quantize to fewer bits."


def _ratio(subject: Subject) -> float | None:
    size, floating = number("size_bytes")(subject), number("bench", "size_bytes", "float")(subject)
    return size / floating if size is not None and floating else None


register(
    Figure(
        "size_bytes",
        "size",
        "number",
        number("size_bytes"),
        falls=False,
        help="bytes of the engine's file",
        advice=_ADVICE,
        column=Column(
            {"text": "KiB", "page": "size, KiB", "runs": "size, KiB", "engines": "KiB"},
            lambda value, _: f"{value / 1024:.1f}",
        ),
        place=90,
    ),
    Figure(
        "size_ratio",
        "size over the float file's",
        "number",
        _ratio,
        falls=False,
        help="bytes of the engine's file over the float ONNX file's",
        advice=_ADVICE,
        place=100,
    ),
)
