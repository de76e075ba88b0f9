"""Stage `teacher`: a robust teacher, loaded from a checkpoint or trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import model_validator

from ..targets.errors import UsageError
from .checkpoint import WEIGHTS, load_into, read_weights, save_weights
from .data import Dataset
from .distill import TrainConfig, train
from .distill.trainer import Epoch
from .models import ModelName, build_model
from .section import Section
from .threat import ThreatModel


class TeacherConfig(Section):
    """Which teacher.

    Attributes:
        model: a registered model; may be left out where the checkpoint names its model.
        checkpoint: weights to load (`.safetensors`, or `.pt` of plain tensors); nothing is trained then.
        train: how the teacher is trained when there is no checkpoint.
    """

    model: ModelName | None = None
    checkpoint: Path | None = None
    train: TrainConfig | None = None

    @model_validator(mode="after")
    def _one_source(self) -> TeacherConfig:
        if self.checkpoint is not None and self.train is not None:
            raise ValueError("give either checkpoint or train, not both (train: null drops the training)")
        if self.checkpoint is None and self.model is None:
            raise ValueError("model is missing (or give a checkpoint that names its model)")
        return self

    @property
    def training(self) -> TrainConfig:
        """The training to run where there is no checkpoint: TRADES unless the recipe says otherwise."""
        return self.train or TrainConfig(method="trades")


def make_teacher(
    config: TeacherConfig,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> None:
    """Write `model.safetensors` (and, when trained, `last.safetensors` and `training.json`) into `folder`.

    Raises:
        UsageError: the checkpoint does not fit the model, or does not say which model it is of.
        StageError: training failed.
    """
    classes = len(dataset.class_names)
    if config.checkpoint is not None:
        weights, named = read_weights(config.checkpoint)
        name = config.model or named
        if name is None:
            raise UsageError(f"teacher.model: missing, and {config.checkpoint} does not name its model")
        load_into(
            build_model(name, dataset.image_shape, classes, seed=0),
            weights,
            path=config.checkpoint,
            name=name,
        )
        save_weights(weights, folder / WEIGHTS, model=name)
        return
    assert config.model is not None
    model = build_model(config.model, dataset.image_shape, classes, seed=config.training.seed)
    result = train(model, dataset, threat, config.training, where="teacher.train", on_epoch=on_epoch)
    result.save(folder, model=config.model)
