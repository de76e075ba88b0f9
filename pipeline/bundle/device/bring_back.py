"""Device verdict into the run: what a device replayed, brought back into its report (`edgeproof device`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import UsageError
from ....core.model_file import sha256_of
from ...reports import render
from ...results.device_verdict import DEVICES, with_devices, without_devices
from ...results.report import Report
from ...store.manifest import amend
from ...store.store import Store
from ..contents import BITS
from ..gather import gather
from ..run_bits import run_bits
from .outcome import outcome_of
from .report import read_device_report

# The figures that follow from the bits, and so are worked out again.
_FOLLOW = ("samples", "clean_accuracy", "robust_accuracy", "run", "lost", "gained", "allowed", "outcome", "reasons")
_TAKEN = ("candidates", "latency_ms", "machine", "versions")


def bring_back(run: str | Path, device_report: str | Path) -> Report:
    """Add a device's report to the report of the run whose bundle it replayed; a failed one fails the run.

    Another report of the same engine on the same device takes the place of the one before. All report files of the run
    are written anew.

    Args:
        run: the run's folder.
        device_report: the file that `edgeproof replay BUNDLE` wrote.

    Raises:
        UsageError: a file is missing or altered, the device replayed another run's bundle, or its figures are not those
            of its bits.
    """
    folder, path = Path(run), Path(device_report)
    found, bits = read_device_report(path)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such run; a run's folder is needed")
    gathered = gather(folder)
    contents, data = gathered.contents, gathered.report.data
    name = found["proof"].get("engine")
    if name not in [engine.name for engine in contents.engines]:
        raise UsageError(f"{path}: of engine {name!r}, which {folder} does not have")
    entry = contents.engine(name)
    _check_proof(path, folder, found["proof"], contents.proof(entry))
    if found["engine"]["origin"] == "bundle" and found["engine"]["sha256"] not in (
        entry.engine_sha256,
        entry.graph_sha256,
    ):
        raise UsageError(f"{path}: replayed an engine that is not the bundle's, and says that it is")
    reference = run_bits(folder / BITS / f"{entry.reference}.npz")
    if not np.array_equal(bits.index, reference.index):
        raise UsageError(f"{path}: its samples are not the run's")
    subjects = {each["name"]: each for each in data["subjects"]}
    outcome = outcome_of(
        bits,
        reference,
        data.get("gates", ()),
        attacked=entry.attacked,
        sequential="sequential" in subjects.get(entry.reference, {}),
    )
    altered = [key for key in _FOLLOW if found.get(key) != outcome[key]]
    # Gates may have been judged anew since; everything else follows from bits that are the same at both ends.
    if set(altered) - {"outcome", "reasons"}:
        raise UsageError(f"{path}: its {altered[0]} is not what its bits come to; altered")
    device = {
        "device": found["device"],
        "engine": name,
        "target": found["engine"].get("target"),
        "engine_sha256": found["engine"]["sha256"],
        "origin": found["engine"]["origin"],
        **outcome,
        **{key: found.get(key) for key in _TAKEN},
        "bundle_sha256": found["bundle"].get("sha256"),
        "report_sha256": sha256_of(path),
    }
    store = Store(folder)
    with store.locked():
        report = replace(gathered.report, data=with_devices(_with(without_devices(data), device)))
        kept = f"devices/{device['report_sha256'][:16]}.json"
        amend(folder, {kept: path.read_text(), **render(report)})
    return report


def _check_proof(path: Path, run: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            said = _words(key, found.get(key), value)
            raise UsageError(f"{path}: replayed a bundle of another run than {run}: {said}")


def _words(key: str, found: Any, expected: Any) -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        differing = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
        return f"{key}: {', '.join(differing)} differ"
    return f"{key} is {_short(found)}, here {_short(expected)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}…"


def _with(data: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, Any]:
    same = (device["device"], device["engine"])
    others = [each for each in data.get(DEVICES, ()) if (each["device"], each["engine"]) != same]
    return {**data, DEVICES: [*others, dict(device)]}
