"""Every classifier of torchvision as `torchvision/<name>`, its stem fitted to small images.

Source: github.com/pytorch/vision, torchvision.models. Parameter names are torchvision's own.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from torch import nn

from .base import ModelBuilder, models
from .stem import build_fitted, fit_stem, is_small, token_side

_PREFIX = "torchvision/"
_SQUEEZENET_POOL = "features.2"


def classifiers() -> list[str]:
    """Every classifier's name in torchvision."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


@models.family(
    _PREFIX, form="torchvision/<name>", members=lambda: [_PREFIX + classifier for classifier in classifiers()]
)
def torchvision_model(name: str) -> ModelBuilder:
    """Every classifier of torchvision, its stem fitted to small images.

    Raises:
        KeyError: torchvision has no classifier of that name.
    """
    if name not in classifiers():
        raise KeyError(name)

    def build(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        return build_fitted(_PREFIX + name, lambda shape: [partial(_build, name, shape, classes)], image_shape, classes)

    return build


def _build(name: str, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    import torchvision

    small = is_small(image_shape)
    options: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name.startswith("vit_"):
        return _vision_transformer(name, image_shape, options)
    if name.startswith("maxvit_"):
        return _maxvit(image_shape, classes) if small else _maxvit_of_photographs(name, image_shape, options)
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    model = torchvision.models.get_model(name, **options)
    if small and name.startswith("vgg"):  # five halvings of 28 pixels leave nothing, unless they round up
        for module in model.modules():
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True
    return fit_stem(model, image_shape, *([_SQUEEZENET_POOL] if name.startswith("squeezenet") else []))


def _vision_transformer(name: str, image_shape: tuple[int, int, int], options: dict[str, Any]) -> nn.Module:
    """Build a ViT for as many patches as the image has, then let it cut patches of that size."""
    import torchvision

    channels, side, width = image_shape
    if side != width:
        raise ValueError("it needs square images")
    published = int(name.rpartition("_")[2])
    patch = token_side(side) if is_small(image_shape) else published
    model: Any = torchvision.models.get_model(name, image_size=published * (side // patch), **options)
    model.conv_proj = nn.Conv2d(channels, model.hidden_dim, kernel_size=patch, stride=patch)
    model.image_size, model.patch_size = side, patch
    return model


def _maxvit(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """MaxViT-T with a stem of stride 1 and the largest windows that every stage can be cut into."""
    from torchvision.models.maxvit import MaxVit

    _, height, width = image_shape
    window = math.gcd(height // 16, width // 16)
    if height % 16 or width % 16 or window < 2:
        raise ValueError("its windows need a side that 16 divides, from 32 up")
    # It computes its grids for a stem of stride 2, which `fit_stem` undoes.
    model = MaxVit(
        input_size=(2 * height, 2 * width),
        stem_channels=64,
        partition_size=min(window, 7),
        block_channels=[64, 128, 256, 512],
        block_layers=[2, 2, 5, 2],
        head_dim=32,
        stochastic_depth_prob=0.2,
        num_classes=classes,
    )
    return fit_stem(model, image_shape)


def _maxvit_of_photographs(name: str, image_shape: tuple[int, int, int], options: dict[str, Any]) -> nn.Module:
    import torchvision

    return fit_stem(torchvision.models.get_model(name, input_size=image_shape[1:], **options), image_shape)
