"""Quantization-aware adversarial distillation: robustness that quantization cost is learnt back where it ships."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import torch
from torch import nn

from ...core.errors import StageError
from ...core.onnx_reader import read_onnx
from ..data import Dataset
from ..distill import TrainingContext, train
from ..distill.smooth_form import searched
from ..distill.training.selection import pgd_accuracy, pgd_attack
from ..threat import ThreatModel
from ..twin import Twin
from .config import RecoverConfig
from .trainable import TrainableTwin
from .write_back import write_back

MODEL = "model.onnx"
RECORD = "recover.json"
# The file's twin and the trained one compute the same; rounding may differ by so much of the largest logit.
TOLERANCE = 1e-5
COMPARED = 200


@dataclass(frozen=True)
class Recovery:
    """What the training changed, on the validation split.

    Attributes:
        clean_before: clean accuracy of the graph as it came.
        pgd_before: its PGD accuracy.
        clean_after: clean accuracy of the graph as it was written.
        pgd_after: its PGD accuracy.
        kept: `recovered`, or `original` where no epoch was better than the graph as it came.
        learnt: numbers that were learnt.
        largest_difference: between the trained twin and that of the written file, of the largest logit.
    """

    clean_before: float
    pgd_before: float
    clean_after: float
    pgd_after: float
    kept: str
    learnt: int
    largest_difference: float


def recover_onnx(
    path: Path,
    config: RecoverConfig,
    teacher: nn.Module,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    natural_teacher: nn.Module | None = None,
    running: TrainingContext | None = None,
) -> Recovery:
    """Write `model.onnx`, `recover.json`, `training.json` and `metrics.csv` into `folder`.

    The trainable twin of the graph is the student of an ordinary distillation. The best epoch by PGD on the
    validation split is written back, or the graph as it came where none is better.

    Args:
        path: a QDQ file, from whatever exporter.
        config: how it learns.
        teacher: frozen, images in [0, 1] to logits.
        dataset: what it learns from.
        threat: the ball.
        folder: where the files go.
        natural_teacher: the clean teacher, for methods that need one.
        running: where and on what it runs.

    Raises:
        UsageError: the graph holds no quantizers or nothing to learn, or the method needs a network that is missing.
        UnsupportedOperator: the twin cannot reproduce a node.
        StageError: training failed, or the written file answers differently from what was trained.
    """
    model = read_onnx(path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    student = TrainableTwin(model, learn_scales=config.learn_scales, where=str(path))
    start = {name: value.detach().clone() for name, value in student.state_dict().items()}

    def validate() -> tuple[float, float]:
        steps, seed = config.selection_steps, config.seed
        model = searched(student)
        return pgd_accuracy(model, dataset.validation, threat, steps=steps, seed=seed, every_point=config.every_point)

    before = validate()
    result = train(
        student,
        dataset,
        threat,
        config,
        teacher=teacher,
        natural_teacher=natural_teacher,
        where="recover",
        running=running,
    )
    # In the layout of the file's twin: another order of additions moves values over the edges of steps.
    student.cpu().to(memory_format=torch.contiguous_format).load_state_dict(result.best)  # pyright: ignore[reportCallIssue]
    after, kept = validate(), "recovered"
    # What came through quantization unharmed is not exchanged for what is no more robust: a gain of clean accuracy
    # beside an equal PGD accuracy was paid for in AutoAttack's (Fashion-MNIST, int8).
    if after[1] <= before[1]:
        student.load_state_dict(start)
        after, kept = before, "original"
    written = write_back(model, student) if kept == "recovered" else model
    onnx.helper.set_model_props(
        written, {**{entry.key: entry.value for entry in model.metadata_props}, "edgeproof.recovered": config.method}
    )
    difference = largest_difference(student, Twin(written), dataset, threat)
    if difference > TOLERANCE:
        raise StageError(
            f"recover: the written file and the twin that was trained differ by {difference:.3g} of the largest logit"
        )
    (folder / MODEL).write_bytes(written.SerializeToString(deterministic=True))
    learnt = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    recovery = Recovery(*before, *after, kept, learnt, difference)
    (folder / RECORD).write_text(json.dumps(asdict(recovery), indent=1))
    result.save_history(folder)
    return recovery


def largest_difference(trained: nn.Module, written: nn.Module, dataset: Dataset, threat: ThreatModel) -> float:
    """Compare two models on clean and adversarial validation images; relative to the largest logit."""
    split = dataset.validation.take(slice(0, COMPARED))
    x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    worst, scale = 0.0, 1e-12
    for images in (x, pgd_attack(trained, x, y, threat, steps=10, seed=0)):
        with torch.no_grad():
            one, other = trained(images), written(images)
        worst, scale = max(worst, float((one - other).abs().max())), max(scale, float(one.abs().max()))
    return worst / scale if np.isfinite(worst) else float("inf")
