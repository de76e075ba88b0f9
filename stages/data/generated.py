"""Generated (synthetic) training images, in the .npz layout in which they are published.

Source of the layout and of how they are used: Gowal et al., "Improving Robustness using Generated Data",
NeurIPS 2021; Wang et al., "Better Diffusion Models Further Improve Adversarial Training", ICML 2023.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import UsageError
from .arrays import read_arrays
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
    image, label = read_arrays(path, _KEYS).values()
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
