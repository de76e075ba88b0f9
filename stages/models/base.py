"""The model registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import nn

from ...targets.registry import Registry

# (image shape C, H, W; number of classes) -> a classifier of float images in [0, 1], raw logits out.
ModelBuilder = Callable[[tuple[int, int, int], int], nn.Module]

models: Registry[ModelBuilder] = Registry("model", "edgeproof.stages.models", "edgeproof.models", functions=True)

ModelName = Annotated[str, AfterValidator(models.check)]


def build_model(name: str, image_shape: tuple[int, int, int], classes: int, *, seed: int) -> nn.Module:
    """Build a registered model with seeded random weights; the caller's random state is left alone.

    Raises:
        UsageError: no model of that name.
    """
    builder = models[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(image_shape, classes)
