"""Range of pixels: [0, 1], but for what floating-point arithmetic puts beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Normalising and undoing it in float32 is off by less; the step of 8-bit images is four thousand times as large.
ROUNDING = 1e-6


def out_of_range(images: NDArray[Any]) -> str:
    """What lies outside of [0, 1] by more than a rounding, as "LOWEST to HIGHEST" or "NaN"; empty where nothing does.

    Args:
        images: floats of any shape, one at least.
    """
    lowest, highest = images.min(), images.max()  # NaN where any is
    if lowest >= -ROUNDING and highest <= 1 + ROUNDING:
        return ""
    return "NaN" if np.isnan(lowest) else f"{_exactly(lowest)} to {_exactly(highest)}"


def in_range(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The images, what lies outside of [0, 1] put to its ends; the same array where nothing does."""
    return images if images.min() >= 0 and images.max() <= 1 else images.clip(0, 1)


def _exactly(value: Any) -> str:
    """Six digits where these tell the value from 0 and 1, else all."""
    short = f"{value:g}"
    return short if short not in ("0", "-0", "1") or float(value) in (0, 1) else str(value)
