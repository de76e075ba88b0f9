"""Generated training images, in the .npz layout in which they are published.

Source of the layout and of how they are used: Gowal et al., "Improving Robustness using Generated Data",
NeurIPS 2021; Wang et al., "Better Diffusion Models Further Improve Adversarial Training", ICML 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...targets.errors import UsageError
from .base import Dataset, Generated

_KEYS = ("image", "label")


def read_generated(path: Path, fraction: float, dataset: Dataset) -> Generated:
    """Read generated images for a data set.

    Args:
        path: an .npz file with `image`, uint8 `[N, H, W, C]`, and `label`, integers `[N]`.
        fraction: the share of every training batch that will be drawn from them.
        dataset: whose shape and classes they must have.

    Raises:
        UsageError: the file is missing or corrupt, lacks a key, or holds other shapes or classes.
    """
    image, label = _read(path)
    channels, height, width = dataset.image_shape
    wanted = (height, width, channels)
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[1:] != wanted:
        raise UsageError(
            f"{path}: image must be uint8 [N, {height}, {width}, {channels}] for dataset {dataset.name!r}, "
            f"got {image.dtype} {list(image.shape)}"
        )
    if label.dtype.kind not in "iu" or label.shape != (len(image),):
        raise UsageError(
            f"{path}: label must be integers [{len(image)}], one an image, got {label.dtype} {list(label.shape)}"
        )
    if len(image) == 0:
        raise UsageError(f"{path}: image is empty")
    classes, labels = len(dataset.class_names), label.astype(np.int64)
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise UsageError(f"{path}: label must lie in [0, {classes}), found {wrong[0]}")
    # A view: a million CIFAR images are 3 GB, and batches are copied out of it anyway.
    return Generated(image.transpose(0, 3, 1, 2), labels, fraction)


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file of generated images")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise UsageError(f"{path}: is a single array; an .npz file with `image` and `label` is needed")
        with loaded as file:
            for key in _KEYS:
                if key not in file:
                    raise UsageError(f"{path}: has no key {key!r} (it has: {', '.join(file) or 'none'})")
            image, label = (file[key] for key in _KEYS)
    except UsageError:
        raise
    except Exception as error:  # whatever numpy, zipfile and zlib make of a broken file
        raise UsageError(f"{path}: is no intact .npz file ({' '.join(str(error).split())})") from error
    return image, label
