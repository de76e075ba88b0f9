"""Device verdicts of a finished run: a device that lost samples fails it, whatever its gates say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..gates import EXIT_CODES, RunOutcome

DEVICES = "devices"
# The run's own verdict, kept beside the one that its devices are part of.
OWN = "verdict_without_devices"
_ORDER: tuple[RunOutcome, ...] = ("pass", "measured", "inconclusive", "fail")


def with_devices(data: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a report the verdicts of the devices that it lists.

    Args:
        data: the content of a report whose `verdict` and `reasons` are the run's own.

    Returns:
        The content with the worst of all verdicts, the devices' reasons first; unchanged where none is listed.
    """
    devices = data.get(DEVICES, ())
    if not devices:
        return dict(data)
    own = {"verdict": data["verdict"], "reasons": list(data["reasons"])}
    worst = max([own["verdict"], *(device["outcome"] for device in devices)], key=_ORDER.index)
    said = [
        f"{device['engine']} on {device['device']}: {reason}"
        for device in devices
        if device["outcome"] != "pass"
        for reason in device["reasons"]
    ]
    return {
        **data,
        "verdict": worst,
        "exit_code": EXIT_CODES[worst],
        "reasons": [*said, *own["reasons"]],
        OWN: own,
    }


def without_devices(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a report with the run's own verdict, as `with_devices` takes it."""
    own = data.get(OWN)
    if own is None:
        return dict(data)
    kept = {key: value for key, value in data.items() if key != OWN}
    return {**kept, **own, "exit_code": EXIT_CODES[own["verdict"]]}
