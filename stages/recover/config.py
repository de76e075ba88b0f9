"""Training settings of quantization-aware distillation: the recipe's `recover` section."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from ..distill import TrainConfig
from ..distill.method import methods


class RecoverConfig(TrainConfig):
    """Quantization-aware adversarial distillation: a training whose student is the twin of the quantized graph.

    Keys as of `distill`, with the defaults of a short fine-tuning, and:

    Attributes:
        learn_scales: whether the quantizers' scales are learnt beside the weights (LSQ); that of the images stays.
    """

    method: Annotated[str, AfterValidator(methods.check)] = "adaad"
    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "onecycle", "multistep", "constant"] = "cosine"
    learn_scales: bool = True

    # A digits graph of 4-bit activations that had lost 12 points to the attacks of `verify` had lost none to PGD's last
    # points (validation images).
    every_point: ClassVar[bool] = True

    @model_validator(mode="after")
    def _what_a_graph_can_do(self) -> RecoverConfig:
        if "peer" in self.needs:
            raise ValueError(f"method: {self.method!r} trains a peer beside the student; a graph has none")
        if self.precision != "32":
            raise ValueError("precision: a quantized graph is trained in 32 bits; its grid is finer than bf16's")
        if self.warm_start is not None:
            raise ValueError("warm_start: the graph's own weights are where this training starts")
        return self
