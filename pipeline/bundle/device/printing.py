"""Device replays printed for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ....core.reading.counted import counted
from ...terminal import COLOURS

_ORIGINS = {"bundle": "from the bundle", "built": "built here", "given": "given", "answers": "its answers, given"}
_SHOWN = 10


def show_device(result: Mapping[str, Any], console: Console) -> None:
    """Print a device's report."""
    engine, proof, latency = result["engine"], result["proof"], result["latency_ms"]
    origin = _ORIGINS[engine["origin"]]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        f"bundle {result['bundle']['name']} sha256:{result['bundle']['sha256']}",
        f"engine {proof['engine']} on {engine['target']}, {origin}, sha256:{engine['sha256'][:16]}… ({versions})",
        *device_lines(result),
        *_latency(latency),
        *(f"note: {note}" for note in engine["notes"]),
    ]
    if "kept" in engine:
        lines.append(f"engine: {engine['kept']}")
    if result["bundle"]["run_verdict"] != "pass":
        lines.append(f"the run's own verdict: {result['bundle']['run_verdict'].upper()}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    _verdict(result, console)


def _latency(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    times = f"{found['p50']:.3f} / {found['p90']:.3f} / {found['p99']:.3f} ms"
    return [f"latency of one image: {times} (p50 / p90 / p99 of {found['calls']} calls, 1 thread)"]


def show_devices(report: Mapping[str, Any], console: Console) -> None:
    """Print the devices of a run's report, and its verdict."""
    for device in report["devices"]:
        lines = [f"{device['engine']} on {device['device']} ({device['target']}, {device['origin']})"]
        console.print("\n".join([*lines, *device_lines(device)]), highlight=False, markup=False, soft_wrap=True)
        _verdict(device, console)
    from ...reports.rows import headline
    from ...results.report import Report

    console.print(
        f"{report['name']}: {headline(Report(report))}",
        style=f"bold {COLOURS[report['verdict']]}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def device_lines(found: Mapping[str, Any]) -> list[str]:
    """The figures of a device, and what it lost."""
    run = found["run"]
    lost = ", ".join(map(str, found["lost"][:_SHOWN])) + (", …" if len(found["lost"]) > _SHOWN else "")
    rows = f" (data-set rows {lost})" if lost else ""
    return [
        f"{counted(found['candidates'], 'adversarial example')} of {counted(found['samples'], 'sample')}: "
        f"clean {found['clean_accuracy']:.3f} (run: {run['clean_accuracy']:.3f}), "
        f"robust {found['robust_accuracy']:.3f} (run: {run['robust_accuracy']:.3f})",
        f"lost {len(found['lost'])}{rows}, {found['allowed']} allowed; gained {len(found['gained'])}",
    ]


def _verdict(found: Mapping[str, Any], console: Console) -> None:
    reasons = f" ({'; '.join(found['reasons'])})" if found["reasons"] else ""
    console.print(
        found["outcome"].upper() + reasons,
        style=f"bold {COLOURS[found['outcome']]}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
