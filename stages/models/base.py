"""Model registry, and how a model is built from a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import nn

from ...core.errors import EdgeproofError, UsageError, raised
from ...core.function import is_function
from ...core.registry import Registry
from ...core.user_modules import fault_line
from .contract_check import fault

# (image shape C, H, W; number of classes) -> a classifier of float images in [0, 1], raw logits out.
ModelBuilder = Callable[[tuple[int, int, int], int], nn.Module]

models: Registry[ModelBuilder] = Registry("model", "edgeproof.stages.models", "edgeproof.models", functions=True)

ModelName = Annotated[str, AfterValidator(models.check)]


def build_model(name: str, image_shape: tuple[int, int, int], classes: int, *, seed: int) -> nn.Module:
    """Build a model with seeded random weights; the caller's random state is left alone.

    Args:
        name: a registered name, a member of a family (`wrn_34_10`, `torchvision/resnet18`), or a user's own
            `package.module:function`, which is called with `(image_shape, classes)`.
        image_shape: channels, height and width.
        classes: number of logits.
        seed: seeds the weights.

    Raises:
        UsageError: no model of that name, or none for such images; a user's function fails, or returns
            something else than an `nn.Module` that answers `[N, C, H, W]` with `[N, classes]`.
    """
    builder = models[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_function(name):
            return _of_a_user(name, builder, image_shape, classes)
        return builder(image_shape, classes)


def package_behind(name: str) -> tuple[str, ...]:
    """The distribution that defines a model of a family, whose version matters: `timm` for `timm/resnet18`."""
    package, separator, _ = name.partition("/")
    return (package,) if separator else ()


def _of_a_user(name: str, builder: ModelBuilder, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    called = f"{name} is called with (image_shape, classes) = ({image_shape}, {classes})"

    def told(error: BaseException) -> str:
        return f"{raised(error).removeprefix('raised ')}{fault_line(error, name.partition(':')[0])}"

    try:
        model = builder(image_shape, classes)
    except EdgeproofError:
        raise
    except (Exception, SystemExit) as error:  # theirs may fail in any way
        raise UsageError(f"{called}: {told(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"{called}: must return an nn.Module, returned {type(model).__name__}")
    if problem := fault(model, image_shape, classes, told=told):
        raise UsageError(f"{called}: what it returns {problem}")
    return model
