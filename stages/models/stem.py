"""Stem fitting: networks made for 224×224 photographs, fitted to the channels and size of other images.

A ResNet that starts with a 7×7 convolution of stride 2 and a max-pool has thrown away fifteen of sixteen
positions of a 32×32 image before its first block. For images of up to 64 pixels its stem becomes the one that
the literature on CIFAR uses: 3×3, stride 1, no pool. All other names and shapes stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from ...core.errors import EdgeproofError, UsageError, reason_of
from .contract_check import fault

SMALL = 64

# Where torchvision's and timm's families keep the max-pool that belongs to the stem.
_POOLS = ("maxpool", "maxpool1", "maxpool_3a", "Pool1", "features.pool0", "stem.pool", "layer0.pool")
# Sides to try when a model does not take the images, to be able to name one that it takes.
_SIDES = (16, 24, 28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 384)

# Ways to build a model for images of one shape, the best first.
Plans = Callable[[tuple[int, int, int]], Iterable[Callable[[], nn.Module]]]


def is_small(image_shape: tuple[int, int, int]) -> bool:
    """Whether images have at most 64 pixels a side, so that a stem made for photographs is changed."""
    return max(image_shape[1:]) <= SMALL


def token_side(side: int) -> int:
    """The patch size that gives a plain vision transformer at most 8 patches a side; it divides the side."""
    return next(patch for patch in range(1, side + 1) if side % patch == 0 and side // patch <= 8)


def patch_side(side: int) -> int:
    """The patch size that leaves a network which halves three more times about 16 patches a side; at most 4."""
    return max(1, min(4, side // 14))


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Return the first convolution and its dotted name; None where there is none."""
    convolutions = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return next(convolutions, None)


def fit_stem(model: nn.Module, image_shape: tuple[int, int, int], *pools: str) -> nn.Module:
    """Fit the first convolution to the channels and, where images are small, keep their resolution.

    Args:
        model: a network with randomly initialised weights; changed in place, and returned. One without any
            convolution stays as it is.
        image_shape: channels, height, width.
        pools: names of further stem pools to drop, where the family keeps them elsewhere.
    """
    found = first_convolution(model)
    if found is None:
        return model
    name, old = found
    kernel, stride = old.kernel_size[0], old.stride[0]
    padding: Any = old.padding
    if is_small(image_shape) and stride > 1:
        if kernel == stride:  # non-overlapping patches
            kernel = stride = patch_side(min(image_shape[1:]))
        else:
            kernel, stride, padding = 3, 1, padding if kernel == 3 else 1
        for pool in (*_POOLS, *pools):
            _drop(model, pool)
    if (kernel, image_shape[0]) == (old.kernel_size[0], old.in_channels):
        old.stride = (stride, stride)
        return model
    # The same class: some families' convolutions standardise their weights, or pad as TensorFlow does.
    new = type(old)(
        image_shape[0],
        old.out_channels,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        bias=old.bias is not None,
    )
    _put(model, name, new)
    return model


def build_fitted(name: str, plans: Plans, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build a foreign model by the first plan whose result answers such images with `[N, classes]`.

    Raises:
        UsageError: none does; names a size that the model takes, if there is one.
    """
    model, problem = _attempt(plans, image_shape, classes)
    if model is not None:
        return model
    channels, height, width = image_shape
    for side in _SIDES:
        if side > min(height, width) and _attempt(plans, (channels, side, side), classes)[0] is not None:
            advice = f"the next size that it takes is {side}×{side}"
            break
    else:
        advice = "no larger size was found that it takes"
    raise UsageError(f"model {name!r}: does not take images of {height}×{width} ({problem}); {advice}")


def _attempt(plans: Plans, image_shape: tuple[int, int, int], classes: int) -> tuple[nn.Module | None, str]:
    """Return the model, or what is wrong with the last plan's, which is the one that changes least."""
    problem = None
    for build in plans(image_shape):
        try:
            model = build()
        except EdgeproofError:
            raise
        except Exception as error:  # theirs may fail in any way
            problem = reason_of(error)
            continue
        problem = fault(model, image_shape, classes)
        if problem is None:
            return model, ""
    return None, problem or "there is no way to build it"


def _drop(model: nn.Module, name: str) -> None:
    try:
        model.get_submodule(name)
    except AttributeError:
        return
    _put(model, name, nn.Identity())


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
