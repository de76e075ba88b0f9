"""Stage `distill`: a compact student learns from the robust teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .classifier import Classifier
from .data import Dataset
from .distill import TrainConfig, train
from .distill.trainer import Epoch
from .models import ModelName, build_model
from .section import Section
from .threat import ThreatModel


class StudentConfig(Section):
    """Which model the student is."""

    model: ModelName


def distil_student(
    student: StudentConfig,
    config: TrainConfig,
    teacher: Classifier,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> None:
    """Write the student's best weights as `model.safetensors`, with `last.safetensors` and `training.json`.

    Raises:
        StageError: training failed.
    """
    model = build_model(student.model, dataset.image_shape, len(dataset.class_names), seed=config.seed)
    train(model, dataset, threat, config, teacher=teacher.load(), where="distill", on_epoch=on_epoch).save(
        folder, model=student.model
    )
