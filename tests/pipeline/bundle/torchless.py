"""An environment in which just the packages stand that a device is told to install, and edgeproof without its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
ROOMS = ("core", "pipeline", "stages", "targets")


def environment(folder: Path, packages: Sequence[str]) -> Path:
    """Make a virtual environment of links to what is installed here; return its Python.

    `pip install PACKAGES` brings these packages and all that they require, and so does this, without a network.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for found in closure(packages).values():
        for entry in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(str(found.locate_file(entry)))
            if source.exists() and not (site / entry).exists():
                (site / entry).symlink_to(source)
    (site / "edgeproof").mkdir()  # as `pip install --no-deps` leaves it
    for part in (*(ROOT / "edgeproof").glob("*.py"), *(ROOT / room for room in ROOMS)):
        (site / "edgeproof" / part.name).symlink_to(part)
    about = distribution("edgeproof")
    information = site / f"edgeproof-{about.version}.dist-info"
    information.mkdir()
    # An editable install's may stand in the working tree, in the older form.
    (information / "METADATA").write_text(about.read_text("METADATA") or about.read_text("PKG-INFO") or "")
    return folder / "bin" / "python"


def closure(packages: Sequence[str]) -> dict[str, Distribution]:
    """Distributions by name: those named, and all that they require."""
    found: dict[str, Distribution] = {}
    waiting = list(packages)
    while waiting:
        each = distribution(waiting.pop())
        name = each.metadata["Name"].lower()
        if name not in found:
            found[name] = each
            needs = [Requirement(line) for line in each.requires or ()]
            waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def edgeproof_in(python: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in that environment, and in no other one."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), "-m", "edgeproof", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**env, "OMP_NUM_THREADS": "1"}
    )
