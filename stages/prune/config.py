"""Pruning settings: the recipe's `prune` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ...core.config import Config
from ..distill import TrainConfig
from ..distill.method import methods

# How the importance of a channel is estimated; see `importance.py`.
ImportanceName = Literal["magnitude_l1", "magnitude_l2", "taylor"]


class FineTuneConfig(TrainConfig):
    """The training that follows the pruning: keys as of `distill`, with the defaults of a short fine-tuning."""

    method: Annotated[str, AfterValidator(methods.check)] = "adaad"
    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=0.02, gt=0)
    schedule: Literal["cosine", "onecycle", "multistep", "constant"] = "cosine"

    @model_validator(mode="after")
    def _what_a_pruned_student_can_do(self) -> FineTuneConfig:
        if "peer" in self.needs:
            raise ValueError(f"method: {self.method!r} trains a peer beside the student; a pruned student has none")
        if self.warm_start is not None:
            raise ValueError("warm_start: the pruned student's own weights are where this training starts")
        return self


class PruneConfig(Config):
    """Structured channel pruning, then adversarial fine-tuning.

    Attributes:
        ratio: the fraction of channels to remove, in (0, 1). Parameters and multiply-adds fall by more: a convolution
            loses inputs as well as outputs.
        importance: what ranks the channels. `magnitude_l1`, `magnitude_l2`: the norm of all weights that a channel
            takes part in. `taylor`: how much the adversarial loss is expected to change without it.
        global_ranking: rank the channels of all layers together, so that layers lose different fractions; otherwise
            every layer loses `ratio` of its channels.
        round_to: channels that a pruned layer keeps are a multiple of this, and at least one such multiple; 8 is what
            INT8 kernels want. A layer of so few channels stays whole.
        rounds: prune in so many steps of equal size, each followed by a whole fine-tuning.
        samples: training images, drawn by the seed, on which `taylor` finds x'.
        train: the fine-tuning; its seed is that of the pruning too.
    """

    ratio: float = Field(gt=0, lt=1)
    importance: ImportanceName = "taylor"
    global_ranking: bool = False
    round_to: int = Field(default=8, ge=1)
    rounds: int = Field(default=1, ge=1)
    samples: int = Field(default=512, ge=1)
    train: FineTuneConfig = FineTuneConfig()

    @property
    def epochs(self) -> int:
        """Epochs of all rounds together."""
        return self.rounds * self.train.epochs
