"""Accuracy under common corruptions, which no attacker has made."""

from __future__ import annotations

from .base import Column, Figure, Medium, Subject, register
from .reading import interval, number


def _note(subject: Subject, _: Medium) -> str:
    found = subject["corruptions"]
    severities = ", ".join(map(str, found["severities"]))
    return (
        f"corr.: mean accuracy on the same images under {len(found['accuracy'])} common corruptions, "
        f"severities {severities} of {found['constants']}; no attack."
    )


register(
    Figure(
        "corrupted_accuracy",
        "accuracy under corruptions",
        "mean",
        number("corrupted_accuracy"),
        interval("corrupted_accuracy_ci"),
        help="mean accuracy under common corruptions",
        advice="See in the table of corruptions which one lost it.",
        measured_by="corruptions",
        column=Column({"text": "corr."}, note=_note),
        place=50,
    )
)
