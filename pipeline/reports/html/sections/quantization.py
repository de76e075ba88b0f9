"""What the activation ranges come from, and what the engines were built with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..blocks import Section, Table
from ..run import RunView


def quantization_section(run: RunView) -> Section | None:
    """The calibration of every engine; None where none was calibrated."""
    found = [(engine, engine["calibration"]) for engine in run.engines if engine.get("calibration")]
    if not found:
        return None
    return Section(
        name="quantization",
        title="Calibration",
        lead=[f"{run.label(engine)}: {_sentence(calibration)}" for engine, calibration in found],
        tables=[
            Table(
                "calibration",
                "Calibration images by class",
                ("engine", "class", "images"),
                [
                    (engine["name"], run.class_name(int(label)) if label.isdigit() else label, str(count))
                    for engine, calibration in found
                    for label, count in calibration.get("images_per_class", {}).items()
                ],
                folded=True,
            )
        ]
        if any(calibration.get("images_per_class") for _, calibration in found)
        else [],
    )


def _sentence(calibration: Mapping[str, Any]) -> str:
    adversarial = calibration.get("adversarial", 0)
    kind = f"{adversarial} of them adversarial" if adversarial else "all clean"
    counts = list(calibration.get("images_per_class", {}).values())
    spread = f", {min(counts)} to {max(counts)} a class" if counts else ""
    return (
        f"activation ranges by {calibration.get('method', 'an unknown method')} from {calibration.get('samples', '?')} "
        f"images of the {calibration.get('split', '?')} split ({kind}{spread}; seed {calibration.get('seed', '?')}), "
        f"scheme {calibration.get('scheme', '?')}; SHA-256 of the images {str(calibration.get('sha256', '?'))[:16]}…"
    )
