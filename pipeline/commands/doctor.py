"""Environment check: what is installed here, and what can run (`edgeproof doctor`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import requires, version
from typing import Any

from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ...core.errors import UsageError
from ...core.versions import ONNX_RUNTIMES, installed_versions, version_in_place_of
from ...targets.base import Availability, targets
from ..store.machine import machine


def target_states() -> list[dict[str, Any]]:
    """Every target as `{name, available, builds, reason, versions}`; some build where they cannot run.

    A plug-in that does not load is not available.
    """
    states: list[dict[str, Any]] = []
    for name in targets.names():
        try:
            state = targets[name].available()
        except UsageError as error:
            state = Availability(False, str(error))
        states.append(
            {
                "name": name,
                "available": state.available,
                "builds": state.available or state.builds,
                "reason": state.reason,
                "versions": state.versions,
            }
        )
    return states


def examine() -> dict[str, Any]:
    """Versions of edgeproof and its dependencies, what does not go together, the machine, the GPU, and the targets."""
    return {
        "edgeproof": version("edgeproof"),
        "machine": machine(),
        "gpu": _gpu(),
        "packages": _packages(),
        "warnings": _warnings(),
        "targets": target_states(),
    }


def show_doctor(found: Mapping[str, Any], console: Console) -> None:
    """Print what `examine` found."""
    about = found["machine"]
    console.print(
        f"edgeproof {found['edgeproof']}, Python {about['python']}, {about['cores']} cores, "
        f"{about['processor'] or about['architecture']}, GPU: {found['gpu'] or 'none'}",
        highlight=False,
    )
    packages = Table("package", "installed", "needed")
    for package in found["packages"]:
        fits = package["fits"]
        packages.add_row(
            package["name"],
            package["installed"] or "missing",
            package["needed"] or "any",
            style=None if fits else "red",
        )
    console.print(packages)
    for warning in found["warnings"]:
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    show_targets(found["targets"], console)


def show_targets(states: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the targets."""
    table = Table("target", "available", *(Column(name, overflow="fold") for name in ("versions", "why not")))
    for state in states:
        versions = ", ".join(f"{name} {number}" for name, number in state["versions"].items())
        runs = "yes" if state["available"] else "builds only" if state["builds"] else "no"
        table.add_row(state["name"], runs, versions, escape(state["reason"]))
    console.print(table)


def _packages() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in requires("edgeproof") or []:
        requirement = Requirement(line)
        if requirement.marker is not None:  # an extra's
            continue
        installed = version_in_place_of(requirement.name)
        number = "" if installed is None else installed.split()[-1]
        found.append(
            {
                "name": requirement.name,
                "installed": installed,
                "needed": str(requirement.specifier),
                "fits": installed is not None and requirement.specifier.contains(number, prereleases=True),
            }
        )
    return found


def _warnings() -> list[str]:
    """What is installed and does not go together."""
    builds = [*installed_versions(ONNX_RUNTIMES)]
    if len(builds) < 2:
        return []
    both = " and ".join(builds)
    return [
        f"{both} lie in one folder, and the one that was installed last is what runs; keep one: "
        f"pip uninstall -y {' '.join(builds)}, then pip install {builds[-1]}"
    ]


def _gpu() -> str | None:
    try:
        import torch
    except ModuleNotFoundError:  # a device that only replays; the table of packages says so
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
