"""Devices: what replayed the run's adversarial examples elsewhere, as `edgeproof device` brought it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....results.device_verdict import DEVICES
from ...rows import DEVICE_COLUMNS, device_rows
from ..blocks import Section, Table, number
from ..run import RunView

_ROWS_SHOWN = 30


def devices_section(run: RunView) -> Section | None:
    """One row a device and engine; None where nothing was brought back."""
    found = run.report.data.get(DEVICES, ())
    if not found:
        return None
    details = [
        [
            f"{device['target']}, {device.get('origin') or 'of unknown origin'}",
            device["engine_sha256"],
            number((device.get("latency_ms") or {}).get("p50")),
            _machine(device),
            _lost(device),
        ]
        for device in found
    ]
    return Section(
        name="devices",
        title="On devices",
        tables=[
            Table("devices", "What withstands on each device", DEVICE_COLUMNS, device_rows(run.report), stacked=True),
            Table(
                "device-details",
                "What ran there, and on what",
                ("device", "engine", "runtime", "SHA-256", "median latency, ms", "machine", "lost rows"),
                [(device["device"], device["engine"], *more) for device, more in zip(found, details, strict=True)],
                folded=True,
                stacked=True,
            ),
        ],
        notes=[
            "A replay is no attack: the examples were made for the engine of the run, so that a device's figure is an "
            "upper bound. Lost are samples that withstand in the run and not there; more than are allowed fail the run."
        ],
    )


def _machine(device: Mapping[str, Any]) -> str:
    machine = device.get("machine") or {}
    return str(machine.get("processor") or machine.get("architecture") or "")


def _lost(device: Mapping[str, Any]) -> str:
    rows = device["lost"]
    return ", ".join(map(str, rows[:_ROWS_SHOWN])) + (", …" if len(rows) > _ROWS_SHOWN else "")
