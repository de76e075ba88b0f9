"""Distillation stage: a compact student learns from the robust teacher."""

from __future__ import annotations

from pathlib import Path

from ..core.config import Config
from .classifier import Classifier
from .data import Dataset
from .distill import TrainConfig, TrainingContext, train
from .models import ModelName, build_model
from .threat import ThreatModel


class StudentConfig(Config):
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
    natural_teacher: Classifier | None = None,
    running: TrainingContext | None = None,
) -> None:
    """Write the student's best weights as `model.safetensors`, with `last.safetensors`, `training.json` and
    `metrics.csv`.

    Args:
        student: the student's model.
        config: how it learns.
        teacher: the robust teacher.
        dataset: what it learns from.
        threat: the ball.
        folder: where the files go.
        natural_teacher: the clean teacher, for methods that need one.
        running: where and on what it runs.

    Raises:
        StageError: training failed.
    """
    shape, classes = dataset.image_shape, len(dataset.class_names)
    model = build_model(student.model, shape, classes, seed=config.seed)
    # Its own seed: a peer that starts as the student's twin would have nothing to tell it.
    peer = (
        build_model(config.peer or student.model, shape, classes, seed=config.seed + 1)
        if "peer" in config.needs
        else None
    )
    result = train(
        model,
        dataset,
        threat,
        config,
        teacher=teacher.load(),
        natural_teacher=None if natural_teacher is None else natural_teacher.load(),
        peer=peer,
        where="distill",
        running=running,
    )
    result.save(folder, model=student.model)
