"""Frozen networks inside an attack: eval or chosen BatchNorm mode, their last answer remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

# Whether BatchNorm uses its running statistics in the attack, or (and updates them with) those of the batch.
BatchNormMode = Literal["eval", "train"]


@contextmanager
def evaluating(model: nn.Module, mode: BatchNormMode = "eval") -> Iterator[None]:
    """Hold a model in eval mode, and its parameters out of the graph, for the time of an attack."""
    training = model.training
    needed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train(mode == "train")
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needed:
            parameter.requires_grad_(True)
        model.train(training)


class Remembering(nn.Module):
    """A model that answers the same tensor a second time from memory.

    Plug-ins may ask for the answer at an iterate that the base objective has asked for already; neither the time
    nor a train-mode BatchNorm update is spent twice.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._last: tuple[Tensor, bool, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's logits `[N, K]`."""
        # Identity, not equality: the tensor is held, so its place in memory cannot be taken by another one.
        if self._last is not None and self._last[0] is x and self._last[1] >= torch.is_grad_enabled():
            return self._last[2]
        logits = self.model(x)
        self._last = x, torch.is_grad_enabled(), logits
        return logits
