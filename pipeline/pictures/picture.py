"""Picture of an image array, as image files hold it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...stages.eight_bit import STEPS


def picture_of(image: np.ndarray) -> Image.Image:
    """`[C, H, W]` in [0, 1] as a picture of 8 bits; of other than one or three channels their mean."""
    if image.shape[0] not in (1, 3):
        image = image.mean(axis=0, keepdims=True)
    pixels = np.rint(np.clip(image, 0, 1) * STEPS).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
