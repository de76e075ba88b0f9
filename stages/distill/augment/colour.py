"""Colour augmentations, by another strength in each image.

They compute what torchvision's `adjust_*` functions compute on float images, for a batch of strengths. A factor of 1
changes nothing, 0 gives the degenerate image (black, grey, even, blurred), above 1 leads away from it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .draw import per_image

# ITU-R 601-2, as torchvision and Pillow convert to grey.
_LUMA = (0.2989, 0.587, 0.114)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their grey versions; `factor` is `[N]`."""
    return _blend(_grey(images), images, factor)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with black; `factor` is `[N]`."""
    return _blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their mean grey; `factor` is `[N]`."""
    return _blend(_grey(images).mean(dim=(1, 2, 3), keepdim=True), images, factor)


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with blurred ones; the outermost pixels stay as they are. `factor` is `[N]`."""
    count, channels, height, width = images.shape
    if height <= 2 or width <= 2:
        return images
    kernel = images.new_ones(1, 1, 3, 3)
    kernel[..., 1, 1] = 5
    blurred = images.clone()
    inner = F.conv2d(images.reshape(-1, 1, height, width), kernel / 13)
    blurred[..., 1:-1, 1:-1] = inner.view(count, channels, height - 2, width - 2)
    return _blend(blurred, images, factor)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to [0, 1]; a channel of one value stays as it is."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    even = low == high
    span = (high - low).masked_fill(even, 1)
    return ((images - low.masked_fill(even, 0)) / span).clamp(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Even out the histogram of every channel of every image, in steps of 1/255 as Pillow does."""
    from torchvision.transforms.v2 import functional

    return functional.equalize(images)


def _blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    weight = per_image(factor.to(images.dtype))
    return (images * weight + degenerate * (1 - weight)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != len(_LUMA):  # no colours that we know: the mean; one channel is its own grey
        return images.mean(dim=1, keepdim=True)
    weights = images.new_tensor(_LUMA).view(1, -1, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)
