"""Number of the data set's own classes among an adapted model's, in the file's metadata."""

from __future__ import annotations

import onnx

from .notes import note, noted

_KEY = "classes"


def note_classes(model: onnx.ModelProto, classes: int) -> None:
    """Say in the model that its first so many logits are the data set's classes, and the others none of them."""
    note(model, _KEY, str(classes))


def noted_classes(model: onnx.ModelProto) -> int | None:
    """What `note_classes` has said; None where nobody has."""
    said = noted(model, _KEY)
    return int(said) if said.isascii() and said.isdigit() else None
