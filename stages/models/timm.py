"""Every classifier of timm as `timm/<name>`, its stem fitted to small images. Needs the extra `timm`.

Source: github.com/huggingface/pytorch-image-models. Parameter names are timm's own; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from torch import nn

from ...core.errors import UsageError
from .base import ModelBuilder, models
from .stem import build_fitted, first_convolution, fit_stem, is_small, patch_side, token_side

_PREFIX = "timm/"


def _timm(name: str = "...") -> Any:
    try:
        import timm
    except ImportError:
        raise UsageError(f"{_PREFIX + name!r} needs the timm extra: pip install 'edgeproof[timm]'") from None
    return timm


@models.family(_PREFIX, form="timm/<name>", members=lambda: [_PREFIX + name for name in _timm().list_models()])
def timm_model(name: str) -> ModelBuilder:
    """Every classifier of timm, its stem fitted to small images.

    Raises:
        KeyError: timm has no model of that name.
        UsageError: timm is not installed.
    """
    if not _timm(name).is_model(name):
        raise KeyError(name)

    def build(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        return build_fitted(_PREFIX + name, lambda shape: _plans(name, shape, classes), image_shape, classes)

    return build


def _plans(name: str, image_shape: tuple[int, int, int], classes: int) -> Iterator[Callable[[], nn.Module]]:
    """Ways to tell timm of the images; families differ in what they take, so the best fit comes first."""
    channels, height, width = image_shape

    def create(**options: Any) -> nn.Module:
        return _timm().create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **options)

    if is_small(image_shape):
        side = min(height, width)
        if patch := _patch(name):
            # A plain transformer keeps its patches to the end, a hierarchical one merges them.
            smaller = token_side(side) if patch > 4 else patch_side(side)
            yield lambda: create(img_size=(height, width), patch_size=smaller)
        yield lambda: fit_stem(create(img_size=(height, width)), image_shape)
        # Those that compute their grids from a stem of stride 2.
        yield lambda: fit_stem(create(img_size=(2 * height, 2 * width)), image_shape)
        yield lambda: fit_stem(create(), image_shape)
    # The stem as published, for photographs and for families whose stem nothing above fits.
    yield lambda: create(img_size=(height, width))
    yield create


@cache
def _patch(name: str) -> int:
    """The side of the non-overlapping patches that a published model cuts; 0 where its stem is another."""
    stem = first_convolution(_timm().create_model(name, pretrained=False))
    if stem is None or stem[1].kernel_size != stem[1].stride:
        return 0
    return stem[1].kernel_size[0]
