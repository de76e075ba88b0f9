"""Teacher settings: the recipe's `teacher` section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ...core.config import Config, Like
from ...core.function import is_function
from ..distill import TrainConfig
from ..models import ModelName
from ..normalization import Normalization
from .zoo import ZooName


class TeacherConfig(Config):
    """Which teacher.

    Attributes:
        model: a registered model; may be left out where the checkpoint names its model.
        checkpoint: weights to load: `.safetensors`, or `.pt`, `.pth`, `.ckpt`, `.tar`, `.bin` of tensors and plain
            values; nothing is trained then.
        weights: which of a checkpoint's weights, where it has several that fit: `ema` (averaged over training), `raw`,
            or the keys under which they lie, such as `student`; `ema` where left out.
        robustbench: a model of RobustBench's zoo for the recipe's norm; its weights are downloaded, or are
            those of `checkpoint`.
        pretrained: whether the function that `model` names returns a model that holds its weights already.
        sha256: the digest that the weight file must have.
        normalize: the normalisation that the weights expect; it is folded inside, so that pixels in [0, 1] go in.
        require_robust: the least accuracy on validation images under PGD; a teacher below it ends the run (exit code
            3). PGD flatters, so this is a floor and no measure of robustness.
        train: how the teacher is trained when it comes from nowhere else.
    """

    model: ModelName | None = None
    checkpoint: Path | None = None
    weights: str | None = None
    robustbench: ZooName | None = None
    pretrained: bool = False
    sha256: Annotated[str, Like(r"^[0-9a-f]{64}$", "64 hexadecimal digits, as sha256sum prints them")] | None = None
    normalize: Normalization | None = None
    require_robust: Annotated[float, Field(gt=0, le=1)] | None = None
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
        for key, does in (("sha256", "pins a file"), ("weights", "chooses among those of a file")):
            if getattr(self, key) is not None and self.checkpoint is None and self.robustbench is None:
                raise ValueError(f"{key}: {does}, so it needs a checkpoint or robustbench")
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
