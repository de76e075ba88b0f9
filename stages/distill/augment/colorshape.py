"""ColorShape: one change of colour or of shape per image.

Source: Li & Spratling, "Data Augmentation Alone Can Improve Adversarial Training", ICLR 2023 (arXiv 2301.09879);
official code: github.com/TreeLLi/DA-Alone-Improves-AT (src/data/idbh.py, the colour-biased space).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .colour import autocontrast, brighten, contrast, equalize, saturate, sharpen
from .geometry import rotate, shear
from .operation import operation

# Maps images and three uniform numbers per image, [n, 3], to images: strength, sign, direction.
Change = Callable[[Tensor, Tensor], Tensor]


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * draws[:, 0]


def _signed(strength: Tensor, draws: Tensor) -> Tensor:
    return torch.where(draws[:, 1] < 0.5, -strength, strength)


def _saturate(images: Tensor, draws: Tensor) -> Tensor:
    return saturate(images, _between(draws, 0.1, 1.9))


def _brighten(images: Tensor, draws: Tensor) -> Tensor:
    return brighten(images, _between(draws, 0.5, 1.9))


def _contrast(images: Tensor, draws: Tensor) -> Tensor:
    return contrast(images, _between(draws, 0.5, 1.9))


def _sharpen(images: Tensor, draws: Tensor) -> Tensor:
    return sharpen(images, _between(draws, 0.1, 1.9))


def _autocontrast(images: Tensor, draws: Tensor) -> Tensor:
    return autocontrast(images)


def _equalize(images: Tensor, draws: Tensor) -> Tensor:
    return equalize(images)


def _shear(images: Tensor, draws: Tensor) -> Tensor:
    angle = _signed(_between(draws, 0.05, 0.15), draws)  # radians
    along_x = draws[:, 2] < 0.5
    return shear(images, angle * along_x, angle * ~along_x)


def _rotate(images: Tensor, draws: Tensor) -> Tensor:
    degrees = 1 + (10 * draws[:, 0]).floor()  # 1 to 10, whole
    return rotate(images, _signed(degrees, draws))


# All equally likely, in the official order.
CHANGES: tuple[Change, ...] = (
    _saturate, _brighten, _contrast, _sharpen, _autocontrast, _equalize, _shear, _rotate
)  # fmt: skip


def changes(channels: int) -> tuple[Change, ...]:
    """Return what images of so many channels may undergo; saturation means nothing without three."""
    return CHANGES if channels == 3 else CHANGES[1:]


@operation("colorshape")
def random_colorshape(images: Tensor) -> Tensor:
    """Change colour or shape of every image in one of eight ways.

    They are saturation, brightness, contrast, sharpness (factors around 1), autocontrast, equalization, a shear of 0.05
    to 0.15 radians, or a rotation of 1 to 10 degrees.

    Ways and strengths are the official ones; those are applied to 8-bit images, ours to float ones, so results differ
    by rounding (except equalization, which rounds alike). Without three channels, seven ways remain, equally likely:
    this is ours.
    """
    known = changes(images.shape[1])
    choice = torch.randint(0, len(known), (len(images),), device=images.device)
    draws = torch.rand(len(images), 3, device=images.device)
    # One call per way, not per image; `tolist` is the only wait for the device.
    counts = (choice[:, None] == torch.arange(len(known), device=images.device)).sum(dim=0).tolist()
    changed = torch.empty_like(images)
    for change, rows in zip(known, choice.argsort(stable=True).split(counts), strict=True):
        if len(rows):
            changed[rows] = change(images[rows], draws[rows])
    return changed
