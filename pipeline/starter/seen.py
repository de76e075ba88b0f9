"""Model and data set as they are found before the first recipe: shape, classes, splits, size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ...core.errors import UsageError
from ...core.reading.counted import class_words
from ...core.user_modules import modules_beside
from ...stages.data import DataConfig, Dataset, load_dataset
from ...stages.models import build_model
from ...stages.teacher.acceptance import check_logits, predict
from ..request.arguments import data_config, option

# Test images that a model is asked about.
_ASKED = 8
# Wider networks to learn from, by the longest side of the images that they are meant for.
_TEACHERS = ((12, ("cnn8_wide",)), (40, ("cnn28_wide", "resnet18")), (10_000, ("resnet18", "resnet50")))
_STUDENTS = ((12, "cnn8_small"), (40, "cnn28_small"), (10_000, "mobilenet_v2"))


@dataclass(frozen=True)
class SeenData:
    """A data set that was read.

    Attributes:
        named: as the user named it.
        config: how it was read.
        dataset: its images, not all of them decoded.
    """

    named: str
    config: DataConfig
    dataset: Dataset

    @classmethod
    def of(
        cls, named: str, folder: Path, data_root: Path | None, image_size: str | None, *, grey: bool, trains: bool
    ) -> SeenData:
        """Read a data set.

        Args:
            named: by a name, a path, or `package.module:function`, which may lie in `folder`.
            folder: that of the recipe.
            data_root: the folder of local copies.
            image_size: to resize files to.
            grey: whether they are read as grey.
            trains: whether it must have images to train on.

        Raises:
            UsageError: it cannot be read, or has test images alone.
        """
        with modules_beside(folder.absolute()):
            config = data_config(named, data_root, image_size, grey=grey)
            with option("--data: "):
                dataset = load_dataset(config, tests_only=True)
        if trains and dataset.tests_only:
            raise UsageError(
                f"--data {named}: has test images only, and a build trains; `init --for prove` is for a finished model"
            )
        return cls(named, config, dataset)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.class_names)

    @property
    def words(self) -> str:
        """What it is, in a line."""
        splits = f"{len(self.dataset.train)} to train on, {len(self.dataset.validation)} to validate, "
        if self.dataset.tests_only:
            splits = ""
        shape = "×".join(map(str, self.dataset.image_shape))
        classes = class_words(self.dataset.class_names)
        return f"{self.named}: {shape} pixels, {classes}; {splits}{len(self.dataset.test)} to test"


@dataclass(frozen=True)
class SeenModel:
    """A model that was built for the data and answered some of its images.

    Attributes:
        name: as a recipe names it.
        parameters: how many numbers it learns.
    """

    name: str
    parameters: int

    @classmethod
    def of(cls, name: str, data: SeenData, folder: Path) -> SeenModel:
        """Build a model and ask it.

        Args:
            name: a registered one, or `package.module:function`, which may lie in `folder`.
            data: whose images it must answer.
            folder: that of the recipe.

        Raises:
            UsageError: it cannot be built, or answers with something else than logits.
        """
        with modules_beside(folder.absolute()), option("--model: "):
            model = build_model(name, data.dataset.image_shape, data.classes, seed=0)
            answers = predict(model, data.dataset.test.take(slice(_ASKED)), name)
            if list(answers.shape[1:]) != [data.classes]:
                raise UsageError(f"{name}: answers {list(answers.shape)}, logits [N, {data.classes}] are wanted")
            check_logits(answers, name)
        return cls(name, sum(each.numel() for each in model.parameters() if each.requires_grad))

    @property
    def words(self) -> str:
        """What it is, in a line."""
        return f"{self.name}: {self.parameters:,} parameters"


def usual_student(data: SeenData) -> str:
    """The small registered model for images of that size."""
    side = max(data.dataset.image_shape[1:])
    return next(name for most, name in _STUDENTS if side <= most)


def usual_teacher(student: SeenModel, data: SeenData) -> SeenModel:
    """A registered model for images of that size, larger than the student where there is one; else one like it."""
    side = max(data.dataset.image_shape[1:])
    names = next(names for most, names in _TEACHERS if side <= most)
    for name in names:
        with torch.device("meta"):
            found = build_model(name, data.dataset.image_shape, data.classes, seed=0)
        parameters = sum(each.numel() for each in found.parameters())
        if parameters > student.parameters:
            return SeenModel(name, parameters)
    return student
