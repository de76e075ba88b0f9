"""Training cost: a few steps on a few images, and what an epoch and its validation would take."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...stages.data import Dataset, Split
from ...stages.distill import TrainConfig, TrainingContext, train
from ...stages.models import build_model
from ...stages.teacher import teacher_model
from ..recipe.recipe import Recipe

_STEPS = 3
_VALIDATED = 32


def training_seconds(where: str, config: TrainConfig, recipe: Recipe, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Time the first steps of a training, with teachers of random weights, which take as long as trained ones.

    Args:
        where: the recipe's section.
        config: how it is trained.
        recipe: names the networks.
        dataset: what it learns from.
        folder: where the training may write; nothing of it is kept.

    Returns:
        `seconds` of all epochs and `basis`, in words; or the basis alone, where it cannot be measured.
    """
    shape, classes = dataset.image_shape, len(dataset.class_names)
    names = {
        "teacher.train": recipe.teacher.model,
        "natural_teacher.train": None if recipe.natural_teacher is None else recipe.natural_teacher.model,
        "distill": recipe.student.model,
    }
    natural = None if recipe.natural_teacher is None else teacher_model(recipe.natural_teacher, recipe.threat)
    companions = {
        "teacher": teacher_model(recipe.teacher, recipe.threat),
        "natural_teacher": natural,
        "peer": config.peer or recipe.student.model,
    }
    needed = {name: companions[name] for name in config.needs}
    model = names[where]
    if model is None or None in needed.values():
        return {"basis": "time unknown: the file does not name its model"}
    steps = -(-len(dataset.train) // config.batch_size)
    few = _cut(dataset, min(_STEPS, steps) * config.batch_size)
    networks = {
        name: build_model(each, shape, classes, seed=1).eval().requires_grad_(name == "peer")
        for name, each in needed.items()
        if each is not None
    }
    short = config.model_copy(update={"epochs": 1, "warm_start": None, "patience": None})
    began = time.perf_counter()
    result = train(
        build_model(model, shape, classes, seed=0),
        few,
        recipe.threat,
        short,
        where=where,
        running=TrainingContext(folder=folder),
        **networks,
    )
    whole = time.perf_counter() - began
    (epoch,) = result.history
    learning = len(dataset.train) / epoch.images_per_second
    validating = max(whole - epoch.seconds, 0.0) * len(dataset.validation) / len(few.validation)
    return {
        "seconds": round(config.epochs * (learning + validating), 1),
        "basis": f"{config.epochs} epochs of {steps} steps; {min(_STEPS, steps)} were measured",
    }


def _cut(dataset: Dataset, images: int) -> Dataset:
    """A few images of the training and of the validation split."""

    def first(split: Split, count: int) -> Split:
        return split.take(np.arange(min(count, len(split))))

    return replace(
        dataset, train=first(dataset.train, images), validation=first(dataset.validation, _VALIDATED), generated=None
    )
