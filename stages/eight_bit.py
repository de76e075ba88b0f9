"""8-bit images: pixels that are whole multiples of 1/255, as a camera delivers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # norms know the grid
    from .norms.base import Norm

STEPS = 255
# A pixel so near to the grid, in steps, is on it: 255 times a float32 in [0, 1] is off by up to 1.5e-5.
_ON_GRID = 1e-4
# How far beyond the radius rounding errors may put what lies on the rim.
_RIM = 1e-6
# Images that are put into their balls at once.
_AT_ONCE = 256


def nearest(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round every pixel to the 1/255 grid; what lies on it stays as it is, to the last bit.

    Args:
        images: in [0, 1].
    """
    return np.asarray(np.rint(images * STEPS) / STEPS, np.float32)


def towards(images: NDArray[np.float32], clean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round every pixel to the 1/255 grid, towards its clean pixel and at most to it: no ball is left.

    Args:
        images: `[N, C, H, W]` in [0, 1].
        clean: `[N, C, H, W]` in [0, 1]; pixels between which and the image's own lies no multiple of 1/255
            become the clean ones.
    """
    steps = images.astype(np.float64) * STEPS
    nearest = np.rint(steps)
    on_grid = np.abs(steps - nearest) <= _ON_GRID
    down, up = np.where(on_grid, nearest, np.floor(steps)), np.where(on_grid, nearest, np.ceil(steps))
    above = np.maximum(down / STEPS, clean)
    below = np.minimum(up / STEPS, clean)
    return np.where(images > clean, above, np.where(images < clean, below, clean)).astype(np.float32)


def nearest_inside(
    images: NDArray[np.float32], clean: NDArray[np.float32], norm: Norm, eps: float | NDArray[np.float64]
) -> NDArray[np.float32]:
    """Round every pixel to the 1/255 grid inside a ball: to the nearest step where the image then stays in it.

    Where it does not, the pixels that the nearest step moves least go there, as many as the ball holds, and the others
    towards their clean ones.

    Args:
        images: `[N, C, H, W]` in [0, 1], inside of the ball.
        clean: `[N, C, H, W]` in [0, 1], its centres.
        norm: of the ball.
        eps: its radius, or one for each image.
    """
    radii = np.broadcast_to(np.asarray(eps, np.float64), len(images)) + _RIM
    found = nearest(images)
    for first in range(0, len(images), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        outside = first + np.flatnonzero(_sizes(found[rows] - clean[rows], norm) > radii[rows])
        if len(outside):
            near, safe, centres = found[outside], towards(images[outside], clean[outside]), clean[outside]
            found[outside] = _filled(near, safe, np.abs(near - images[outside]), centres, norm, radii[outside])
    return found


def _filled(
    near: NDArray[np.float32],
    safe: NDArray[np.float32],
    moved: NDArray[np.float32],
    clean: NDArray[np.float32],
    norm: Norm,
    radii: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Take as many pixels from `near` as the balls hold, those that are `moved` least, and the others from `safe`."""
    rank = moved.reshape(len(moved), -1).argsort(1).argsort(1).reshape(moved.shape)
    fits, not_fits = np.zeros(len(near), np.int64), np.full(len(near), near[0].size)
    while (not_fits - fits > 1).any():
        tried = (fits + not_fits) // 2
        inside = _sizes(np.where(rank < tried.reshape(-1, 1, 1, 1), near, safe) - clean, norm) <= radii
        fits, not_fits = np.where(inside, tried, fits), np.where(inside, not_fits, tried)
    return np.where(rank < fits.reshape(-1, 1, 1, 1), near, safe)


def _sizes(delta: NDArray[np.float32], norm: Norm) -> NDArray[np.float64]:
    import torch

    return norm.size(torch.from_numpy(delta)).numpy().astype(np.float64)


def whole_steps(eps: float) -> float:
    """The largest multiple of 1/255 that is at most `eps`: all that an Linf ball holds around a pixel of the grid."""
    return np.floor(eps * STEPS + _ON_GRID) / STEPS
