"""Stage `teacher`: a robust teacher, from a file, from RobustBench's zoo, from a user's function, or trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ..targets.base import sha256_of
from ..targets.errors import UsageError
from ..targets.function import is_function
from .acceptance import accept_teacher
from .checkpoint import WEIGHTS, named_model, save_weights
from .data import Dataset
from .distill import Running, TrainConfig, train
from .models import ModelName, build_model
from .normalization import Normalization
from .pretrained import load_pretrained
from .section import Section
from .threat import ThreatModel
from .zoo import ZooName, fetch_weights, is_of_the_zoo, model_name


class TeacherConfig(Section):
    """Which teacher.

    Attributes:
        model: a registered model; may be left out where the checkpoint names its model.
        checkpoint: weights to load (`.safetensors`, or `.pt` of plain tensors); nothing is trained then.
        robustbench: a model of RobustBench's zoo for the recipe's norm; its weights are downloaded, or are
            those of `checkpoint`.
        pretrained: whether the function that `model` names returns a model that holds its weights already.
        sha256: the digest that the weight file must have.
        normalize: the normalisation that the weights expect; it is folded inside, so that pixels in [0, 1] go in.
        train: how the teacher is trained when it comes from nowhere else.
    """

    model: ModelName | None = None
    checkpoint: Path | None = None
    robustbench: ZooName | None = None
    pretrained: bool = False
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    normalize: Normalization | None = None
    train: TrainConfig | None = None

    @model_validator(mode="after")
    def _one_source(self) -> TeacherConfig:
        if self.checkpoint is not None and self.train is not None:
            raise ValueError("give either checkpoint or train, not both (train: null drops the training)")
        if self.robustbench is not None and (self.train is not None or self.model is not None or self.pretrained):
            raise ValueError("robustbench: names a trained model; leave out model, train and pretrained")
        if self.pretrained and (self.checkpoint is not None or self.train is not None):
            raise ValueError("pretrained: says that the model holds its weights; leave out checkpoint and train")
        if self.pretrained and (self.model is None or not is_function(self.model)):
            raise ValueError("pretrained: needs a model package.module:function that returns its weights with it")
        if not self.trained_elsewhere and self.model is None:
            raise ValueError("model is missing (or give a checkpoint that names its model)")
        return self

    @model_validator(mode="after")
    def _weights_to_speak_of(self) -> TeacherConfig:
        if self.sha256 is not None and self.checkpoint is None and self.robustbench is None:
            raise ValueError("sha256: pins a file, so it needs a checkpoint or robustbench")
        if self.normalize is not None and (self.robustbench is not None or not self.trained_elsewhere):
            raise ValueError(
                "normalize: is for a checkpoint or a pretrained model; RobustBench's models normalise inside, and a "
                "teacher that is trained here takes pixels in [0, 1]"
            )
        return self

    @property
    def trained_elsewhere(self) -> bool:
        """Whether the teacher comes with its weights, so that nothing is trained."""
        return self.checkpoint is not None or self.robustbench is not None or self.pretrained

    @property
    def training(self) -> TrainConfig:
        """The training to run where there is no checkpoint: TRADES unless the recipe says otherwise."""
        return self.train or TrainConfig(method="trades")


class NaturalTeacherConfig(TeacherConfig):
    """A teacher of clean images, for methods that learn from one beside the robust teacher; keys as of `teacher`."""

    @property
    def training(self) -> TrainConfig:
        """The training to run where there is no checkpoint: standard, unless the recipe says otherwise."""
        return self.train or TrainConfig(method="standard")


def weight_file(
    config: TeacherConfig,
    threat: ThreatModel,
    classes: int,
    *,
    where: str = "teacher",
    notice: Callable[[str], None] = lambda _: None,
) -> Path | None:
    """Return the file that holds the teacher's weights, downloaded if need be; None where no file does.

    Args:
        config: which teacher.
        threat: its norm says which of RobustBench's zoos.
        classes: number of classes, which says of which data set.
        where: the recipe section, for messages.
        notice: told the digest to pin, where a download is not pinned.

    Raises:
        UsageError: the file has another digest than the pinned one, or the zoo has no such model.
        StageError: the download fails.
    """
    file = config.checkpoint
    if file is None and config.robustbench is not None:
        file = fetch_weights(model_name(config.robustbench, threat.norm), classes)
        if config.sha256 is None:
            notice(f"{where}.robustbench: {config.robustbench} is not pinned; add {where}.sha256: {sha256_of(file)}")
    if file is not None and config.sha256 is not None and (found := sha256_of(file)) != config.sha256:
        raise UsageError(f"{where}.sha256: {file} has the digest {found}, not the pinned one; it was not loaded")
    return file


def teacher_model(config: TeacherConfig, threat: ThreatModel) -> str | None:
    """Return the name of the teacher's model: the recipe's, or else what its checkpoint tells; None without either.

    Raises:
        UsageError: the checkpoint is broken.
    """
    if config.robustbench is not None:
        return model_name(config.robustbench, threat.norm)
    return config.model or (None if config.checkpoint is None else named_model(config.checkpoint))


def make_teacher(
    config: TeacherConfig,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    where: str = "teacher",
    running: Running | None = None,
) -> None:
    """Write `model.safetensors` (and, when trained, `last.safetensors` and `training.json`) into `folder`.

    Raises:
        UsageError: the weights do not fit the model or the data, or the model is none that could teach; see
            `weight_file`, `load_pretrained` and `accept_teacher`.
        StageError: training or a download failed.
    """
    classes = len(dataset.class_names)
    if config.trained_elsewhere:
        file = weight_file(config, threat, classes, where=where)
        found = load_pretrained(
            teacher_model(config, threat),
            file,
            dataset.image_shape,
            classes,
            normalize=config.normalize,
            where=where,
        )
        classifier = found.classifier(dataset.image_shape[0], where)
        what = f"{where}.model: {found.name}" if file is None else f"{where}.checkpoint: {file}"
        normalized = found.normalize is not None or is_of_the_zoo(found.name)  # the zoo's models normalise inside
        accept_teacher(classifier, dataset, what, f"{where}.normalize", normalized=normalized)
        save_weights(found.network.state_dict(), folder / WEIGHTS, model=found.name, normalize=found.normalize)
        return
    assert config.model is not None
    model = build_model(config.model, dataset.image_shape, classes, seed=config.training.seed)
    result = train(model, dataset, threat, config.training, where=f"{where}.train", running=running)
    result.save(folder, model=config.model)
