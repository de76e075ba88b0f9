"""What FAB's short cut leaves out, and whether a walk that it left would have ended in the ball.

    python benchmarks/hopeless_walks.py                                            # int8 engine of the tests' student
    python benchmarks/hopeless_walks.py --norm L2 --eps 0.5 --samples 150
    python benchmarks/hopeless_walks.py --model student.onnx --dataset fashion_mnist --data-root DATA --samples 200

FAB walks from every image that APGD-CE leaves towards nine classes, once to the end and once with `leave_hopeless`.
Distances are in eps; an end of at most 1 is an adversarial example.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from edgeproof.pipeline.request.arguments import data_config, threat_model
from edgeproof.stages.data import Split, load_dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import EngineSubject, VerifyConfig, sample
from edgeproof.stages.verify.attacks.autoattack import TARGETS
from edgeproof.stages.verify.attacks.fast_fab import fab_single_run
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.routes.base import Batch, Context
from edgeproof.targets.base import EngineFile
from pyautoattack.fab_pt import FABAttack_PT
from rich.console import Console
from rich.table import Table
from tests_student import tests_student
from torch import Tensor, nn

STEPS = 100
MODES = ("relu",)
# A smaller batch may round otherwise.
ROUNDING = 1.001


class Counted(nn.Module):
    """A model that counts the images it is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        """Answer, and count."""
        self.images += len(x)
        return self.model(x)


def left_by_apgd(path: Path, split: Split, threat: ThreatModel) -> tuple[nn.Module, int, Batch]:
    """The engine with its twin's gradients, its classes, and the samples that APGD-CE leaves."""
    opened = EngineSubject("engine", EngineFile.of("onnxruntime", path), path, MODES, isolated=False).open()
    context = Context(opened, threat, VerifyConfig(), Candidates.none(split.images.shape[1:]))
    batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
    batch = batch.where(opened.predict(split.images).argmax(1) == split.labels)
    batch = batch.where(~context.attack("apgd-ce", MODES[0], batch).broken)
    return opened.gradient_sources[MODES[0]], opened.classes, batch


def walks(
    model: nn.Module, classes: int, batch: Batch, threat: ThreatModel, *, leave_hopeless: bool
) -> tuple[np.ndarray, int]:
    """How far each walk ends, `[walks]` in eps and infinite where it finds nothing, and how many images were asked."""
    counted = Counted(model)
    fab = FABAttack_PT(
        counted,
        norm=threat.norm,
        eps=threat.eps,
        n_iter=STEPS,
        n_target_classes=min(TARGETS, classes - 1),
        targeted=True,
        device="cpu",
    )
    x, y = batch.images, batch.labels
    ranked = model(x).sort(dim=1)[1]
    found: list[np.ndarray] = []
    for rank in range(2, fab.n_target_classes + 2):
        ends = fab_single_run(fab, x, y, ranked[:, -rank], random_start=False, leave_hopeless=leave_hopeless)
        apart = threat.geometry.size(ends - x).numpy() / threat.eps
        found.append(np.where((ends == x).flatten(1).all(1).numpy(), np.inf, apart))
    return np.concatenate(found), counted.images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an ONNX file (default: the tests' student, int8)")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--norm", default="Linf")
    parser.add_argument("--eps", default="0.1")
    parser.add_argument("--samples", type=int, help="test images (default: all)")
    arguments = parser.parse_args()
    threat = threat_model(arguments.norm, arguments.eps)
    test = load_dataset(data_config(arguments.dataset, arguments.data_root)).test
    split = sample(test, VerifyConfig(samples=arguments.samples))
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.model or tests_student(Path(scratch), floating=False)[0]
        standing = left_by_apgd(path, split, threat)
        whole, asked = walks(*standing, threat, leave_hopeless=False)
        short, asked_less = walks(*standing, threat, leave_hopeless=True)
    left = short > ROUNDING * whole
    table = Table("", "walks", "end within eps", "within 1.5 eps", "images asked about")
    for name, ends, count in (("to the end", whole, asked), ("hopeless ones left", short, asked_less)):
        table.add_row(name, str(len(ends)), str((ends <= 1).sum()), str((ends <= 1.5).sum()), f"{count:,}")
    console = Console(width=110)
    console.print(f"{path.name} on {len(split)} samples of {arguments.dataset}, {threat.norm} {threat.eps:g}")
    console.print(table)
    nearest = f"; to its end, the nearest of them comes to {whole[left].min():.2f} eps" if left.any() else ""
    console.print(f"{left.sum()} walks end farther for being left{nearest}", highlight=False)


if __name__ == "__main__":
    main()
