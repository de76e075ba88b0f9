"""8-bit images: pixels that are whole multiples of 1/255, as a camera delivers them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 255
# A pixel so near to the grid, in steps, is on it: 255 times a float32 in [0, 1] is off by up to 1.5e-5.
_ON_GRID = 1e-4


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


def whole_steps(eps: float) -> float:
    """The largest multiple of 1/255 that is at most `eps`: all that an Linf ball holds around a pixel of the grid."""
    return np.floor(eps * STEPS + _ON_GRID) / STEPS
