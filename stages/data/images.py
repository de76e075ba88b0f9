"""Image files of any size as one array of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from .base import DataConfig


def refuse_resize(config: DataConfig, size: int) -> None:
    """Refuse `image_size` for a data set whose images have one published size.

    Raises:
        UsageError: the config gives another size.
    """
    if config.image_size not in (None, size):
        raise UsageError(
            f"dataset {config.dataset!r}: data.image_size: its images are {size}×{size} and are not resized, "
            f"got {config.image_size}"
        )


def read_images(paths: Sequence[Path], size: int | None) -> NDArray[np.uint8]:
    """Read image files as RGB, uint8 `[N, 3, H, W]`.

    Args:
        paths: the files; at least one.
        size: height and width to resize to (bilinear, as torchvision's `Resize((size, size))` does with
            images); the images' own where None, which must then be the same for all.

    Raises:
        UsageError: a file is no 8-bit image or is cut off, or the sizes differ; names the file.
    """
    first = _read(paths[0], size)
    images = np.empty((len(paths), *first.shape), np.uint8)
    for row, path in enumerate(paths):
        image = first if row == 0 else _read(path, size)
        if image.shape != first.shape:
            raise UsageError(
                f"{path}: is {_size(image)} and {paths[0]} is {_size(first)}; "
                f"set data.image_size (or --image-size) to resize all"
            )
        images[row] = image
    return images.transpose(0, 3, 1, 2)


def _read(path: Path, size: int | None) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as file:
            if file.mode in ("I", "F") or file.mode.startswith("I;"):
                raise UsageError(f"{path}: has more than 8 bits a pixel; convert it to an 8-bit image")
            image = file.convert("RGB")
    except UsageError:
        raise
    except Exception as error:  # Pillow's readers raise almost anything at broken files
        reason = str(error).removesuffix(repr(str(path))).strip() or type(error).__name__
        raise UsageError(f"{path}: cannot be read as an image ({reason})") from error
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _size(image: NDArray[np.uint8]) -> str:
    height, width = image.shape[:2]
    return f"{width}×{height}"
