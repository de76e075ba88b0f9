"""Adversarial images of samples that fell, chosen by rule."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ....pictures.picture import picture_of
from ..blocks import Card, Picture, Section
from ..run import RunView

# Larger images are shown in a format that loses a little, and so large at most, so that the page stays small.
_LOSSLESS, _LARGEST = 64, 160
_MOST = 12


def examples_section(run: RunView) -> Section | None:
    """Clean image, adversarial image and amplified difference of a few samples of every engine."""
    found = run.examples
    if not len(found.get("index", ())):
        return None
    names = [engine["name"] for engine in run.engines]
    rows = [row for row, name in enumerate(found["subject"].tolist()) if name in names]
    each = max(2, _MOST // max(len(names), 1))
    shown = [row for name in names for row in [row for row in rows if found["subject"][row] == name][:each]]
    if not shown:
        return None
    channels = found["clean"].shape[1]
    compared = any(found["lost"][row] for row in shown)
    rule = (
        "the first that the engine loses and the float student keeps, in the data set's order, then the first that "
        "both lose"
        if run.student
        else "the first that the engine loses, in the data set's order"
    )
    return Section(
        name="examples",
        title="Adversarial images",
        lead=[
            f"Chosen by rule, not by eye: {rule}; samples whose clean image is wrong already are left out. Of each, "
            "the first image found that fools the engine."
            + ("" if compared or not run.student else " Here the engine loses none that the student keeps."),
        ],
        cards=[
            _card(run, {key: found[key][row] for key in found if key != "classes"}, len(names) > 1) for row in shown
        ],
        notes=[
            "Differences are scaled so that gray is no change, and black and white are the largest change of that "
            f"image; {run.threat}. The exact images lie in adversarial/<subject>.npz."
            + (f" They are shown reduced to {_LARGEST} pixels." if max(found["clean"].shape[2:]) > _LARGEST else "")
            + ("" if channels in (1, 3) else f" The images have {channels} channels; their mean is shown.")
        ],
    )


def _card(run: RunView, row: Mapping[str, Any], several: bool) -> Card:
    clean, adversarial = row["clean"].astype(np.float32), row["adversarial"].astype(np.float32)
    truth, delta = run.class_name(int(row["label"])), adversarial - clean
    largest = float(np.abs(delta).max()) or 1.0
    before, after = (run.class_name(int(row[f"{when}_prediction"])) for when in ("clean", "adversarial"))
    amplified = f"× {1 / (2 * largest):.3g}"
    pictures = [
        Picture(_shown(clean), f"clean image of class {truth}, data-set row {row['index']}", "clean", before),
        Picture(_shown(adversarial), f"adversarial image, answered {after}", "adversarial", after, wrong=True),
        Picture(
            _shown(0.5 + delta / (2 * largest), Image.Resampling.NEAREST),
            "their difference, amplified",
            "difference",
            amplified,
        ),
    ]
    students = int(row["student_adversarial_prediction"])
    words = f"Found by {str(row['attack']).partition('/')[0]} on {row['found_on']}."
    if run.student:
        words += f" The student answers {run.class_name(students)}" + (" and keeps the sample." if row["lost"] else ".")
    title = f"true class {truth}" + (f", {row['subject']}" if several else "")
    return Card(title, pictures, f"{words} Row {row['index']}.")


def _shown(image: np.ndarray, reduce: Image.Resampling = Image.Resampling.LANCZOS) -> str:
    """`[C, H, W]` in [0, 1] as a `data:` address."""
    picture, out = picture_of(image), io.BytesIO()
    kind = "PNG" if max(picture.size) <= _LOSSLESS else "WEBP"
    picture.thumbnail((_LARGEST, _LARGEST), reduce)
    picture.save(out, kind, **({"optimize": True} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64," + base64.b64encode(out.getvalue()).decode()
