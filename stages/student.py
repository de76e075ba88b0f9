"""Stage `distill`: a compact student learns from the robust teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import field_validator

from .checkpoint import save_weights
from .classifier import Classifier
from .data import Dataset
from .distill import TrainConfig, train
from .distill.trainer import Epoch
from .models import build_model
from .section import Section
from .teacher import WEIGHTS, known_model
from .threat import ThreatModel


class StudentConfig(Section):
    """Which model the student is."""

    model: str

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        known_model(name)
        return name


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
    result = train(model, dataset, threat, config, teacher=teacher.load(), where="distill", on_epoch=on_epoch)
    save_weights(result.best, folder / WEIGHTS, model=student.model)
    save_weights(result.last, folder / "last.safetensors", model=student.model)
    (folder / "training.json").write_text(json.dumps(result.summary(), indent=1))
