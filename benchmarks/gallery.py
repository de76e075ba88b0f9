"""Planted defences: what plain AutoAttack claims of them, and what edgeproof says.

    python benchmarks/gallery.py                # a quarter of an hour on one core
    python benchmarks/gallery.py --samples 40   # minutes

Every row hides the same robust student (digits, Linf 0.1) behind something an attack may stumble over; what is hidden
is its figure, that of the first row. Only where pixels are rounded the ball looks smaller from behind the rounding: a
sample that the student alone loses counts as robust there if a search through all levels that the ball reaches, by the
student's own gradients, finds nothing either (`levels.py`). "Plain AutoAttack" is AutoAttack standard on the graph as
a torch module with torch's own gradients: zero through a rounding, none through an arg max.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import planted_defences
import torch
from edgeproof.stages.data import DataConfig, Split, load_dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import UnsupportedOperator, load_twin
from edgeproof.stages.twin.ops import arithmetic, casting, unary
from edgeproof.stages.verify import Attacked, EngineSubject, Evaluation, VerifyConfig, attack_subject
from edgeproof.targets.base import EngineFile
from levels import LEVELS, withstands_all_levels
from parallel import one_thread
from pyautoattack import AutoAttack
from rich.console import Console
from rich.table import Table
from tests_student import STUDENT
from torch import nn

THREAT = ThreatModel(norm="Linf", eps=0.1)
Make = Callable[[Path, Path], Path]


@contextmanager
def torchs_own_gradients() -> Iterator[None]:
    """Let roundings have the gradient that torch gives them: zero."""

    def plain(x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return function(x)

    with (
        patch.object(arithmetic, "straight_through", plain),
        patch.object(casting, "straight_through", plain),
        patch.object(unary, "straight_through", plain),
    ):
        yield


def plain_autoattack(path: Path, split: Split) -> str:
    """What AutoAttack standard claims: robust accuracy, or why it has nothing to say."""
    try:
        with torchs_own_gradients():
            model = load_twin(path)
            x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
            runner = AutoAttack(model, norm="Linf", eps=THREAT.eps, seed=0, device="cpu")
            x_adv, _ = runner.run_standard_evaluation(x, y, batch_size=len(x))
            with torch.no_grad():
                return f"{float((model(x_adv).argmax(1) == y).float().mean()):.3f}"
    except UnsupportedOperator:
        return "not run: no torch module"
    except RuntimeError as error:
        return f"fails: {str(error).splitlines()[0][:40]}"


def ours(path: Path, split: Split, folder: Path) -> tuple[np.ndarray, str]:
    """The samples that withstand all routes, and the doubts that make the verdict inconclusive."""
    shutil.rmtree(folder, ignore_errors=True)
    config = VerifyConfig(routes=("whitebox", "probe", "square"), shard_size=len(split))
    subject = EngineSubject("engine", EngineFile.of("onnxruntime", path), path, config.backward)
    attack_subject(subject, Evaluation(split, THREAT, config), config.routes, folder)
    found = Attacked.load(folder)
    findings = found.summary["findings"]
    assert isinstance(findings, list)
    doubts = [finding["name"] for finding in findings if finding["inconclusive"]]
    return found.robust, "inconclusive: " + ", ".join(doubts) if doubts else ""


def hidden(name: str, robust: np.ndarray, undefended: np.ndarray, network: nn.Module, split: Split) -> np.ndarray:
    """The samples that are robust behind a defence, found out without it."""
    truth = undefended.copy()
    if name in LEVELS:
        for row in np.flatnonzero(robust & ~undefended):
            truth[row] = withstands_all_levels(
                network, split.images[row], int(split.labels[row]), THREAT.eps, LEVELS[name]
            )
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100, help="test images (default: 100)")
    parser.add_argument("--only", help="comma-separated names of defences")
    arguments = parser.parse_args()
    one_thread()
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    split = load_dataset(DataConfig(dataset="digits")).test.take(slice(0, arguments.samples))
    defences: dict[str, Make] = {
        "none": lambda source, path: Path(shutil.copy(source, path)),
        **planted_defences.FILES,
        "NaN beside the images": lambda source, path: planted_defences.not_a_number(source, path, split.images),
        "table of the images": lambda source, path: planted_defences.lookup(
            source, path, split.images, split.labels, 1.001 * THREAT.eps
        ),
        "images drawn to the stored ones": lambda source, path: planted_defences.drawn(
            source, path, split.images, 1.001 * THREAT.eps
        ),
    }
    only = arguments.only.split(",") if arguments.only else list(defences)
    console = Console(width=120)
    columns = ("defence", "what is hidden", "plain AutoAttack", "edgeproof", "verdict")
    table, lines = Table(*columns), [f"| {' | '.join(columns)} |", "|---|---:|---:|---:|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "float.onnx"
        network = STUDENT.load()
        export_onnx(network, (1, 8, 8), source, opset=18)
        undefended, _ = ours(source, split, folder / "attack")
        for name in only:
            path = defences[name](source, folder / "model.onnx")
            robust, verdict = ours(path, split, folder / "attack")
            truth = hidden(name, robust, undefended, network, split)
            row = (name, f"{truth.mean():.3f}", plain_autoattack(path, split), f"{robust.mean():.3f}", verdict)
            table.add_row(*row)
            lines.append(f"| {' | '.join(row)} |")
            console.print(" | ".join(row), highlight=False)
    console.print(table)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
