"""Images of one's own as arrays in an .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import UsageError
from ..arrays import read_arrays
from ..base import DataConfig, Dataset, Split, datasets
from ..divide import divide
from ..images import refuse_resize
from ..pixels import out_of_range

_CHANNELS, _WITH_ALPHA = (1, 3), 4


@datasets.register("npz")
def npz(config: DataConfig) -> Dataset:
    """Load the file `root`: `images` and `labels` are its test split, all of them.

    `images` are `[N, C, H, W]`, `[N, H, W, C]` (1, 3 or 4 channels) or `[N, H, W]`, integers in [0, 255] or floats in
    [0, 1]; `labels` are whole numbers `[N]` or `[N, 1]`, or one-hot `[N, K]`. `train_images` and `train_labels`,
    likewise, are divided into train and validation; without them there is nothing to train on. `class_names` are
    strings; where left out, the highest label is the last class.

    Raises:
        UsageError: the file is missing or corrupt, lacks a key, or holds something else than that.
    """
    path = config.root
    if path is None:
        raise UsageError("dataset 'npz': name its file by --data-root or data.root")
    path = Path(path).expanduser().absolute()
    arrays = read_arrays(path, ("images", "labels"), ("train_images", "train_labels", "class_names"))
    images, labels = _labelled(path, arrays, "images", "labels")
    refuse_resize(config, *images.shape[2:])
    trains = "train_images" in arrays
    train = _labelled(path, arrays, "train_images", "train_labels") if trains else None
    highest = max(int(each.max()) for each in (labels, *(train[1:] if train else ())))
    names = tuple(map(str, arrays["class_names"])) if "class_names" in arrays else tuple(map(str, range(highest + 1)))
    if highest >= len(names):
        raise UsageError(f"{path}: class_names are {len(names)}, and there is a label {highest}")
    if train is not None:
        return divide("npz", names, *train, config, test=(images, labels), sources=(path,))
    test = Split(_in_floats(images), labels, np.arange(len(labels)))
    nothing = test.take(slice(0, 0))
    return Dataset("npz", names, nothing, nothing, test, sources=(path,))


def _labelled(
    path: Path, arrays: dict[str, NDArray[Any]], key: str, label_key: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    if label_key not in arrays:
        raise UsageError(f"{path}: has {key} and no {label_key}")
    images, labels = arrays[key], arrays[label_key]
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and _channels_last(images):
        images = images.transpose(0, 3, 1, 2)
    images = _in_bytes(images)
    if images.ndim != 4 or (images.dtype.kind != "f" and images.dtype != np.uint8):
        raise UsageError(
            f"{path}: {key} must be uint8, or floats in [0, 1], [N, C, H, W], [N, H, W, C] or [N, H, W]; "
            f"got {images.dtype} {list(arrays[key].shape)}"
        )
    labels = _whole(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise UsageError(
            f"{path}: {label_key} must be integers [{len(images)}], one an image, "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if not len(images):
        raise UsageError(f"{path}: {key} is empty")
    _check_range(path, key, images)
    if labels.min() < 0:
        raise UsageError(f"{path}: {label_key} must be 0 or more, found {labels.min()}")
    return images if images.dtype == np.uint8 else images.astype(np.float32), labels.astype(np.int64)


def _channels_last(images: NDArray[Any]) -> bool:
    _, first, _, last = images.shape
    return first not in _CHANNELS and (last in _CHANNELS or (last == _WITH_ALPHA != first))


def _in_bytes(images: NDArray[Any]) -> NDArray[Any]:
    """Integers of another type that can be nothing but bytes: beyond 1, which floats could have been meant by."""
    wide = images.dtype.kind in "iu" and images.dtype != np.uint8 and images.size > 0
    return images.astype(np.uint8) if wide and images.min() >= 0 and 1 < images.max() <= 255 else images


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as `[N]` integers, where they are that in another form."""
    if labels.dtype.kind in "fiub" and labels.ndim == 2 and labels.shape[1] > 1:
        hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
        return labels.argmax(1) if hot else labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all()
    return labels.astype(np.int64) if whole else labels


def _check_range(path: Path, key: str, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8 and (found := out_of_range(images)):
        # Else they are no bytes: a rounding, or normalised.
        hint = "; multiply by 1/255 first, or store uint8" if images.min() >= 0 and 2 <= images.max() <= 255 else ""
        raise UsageError(f"{path}: {key} must lie in [0, 1], found {found}{hint}")


def _in_floats(images: NDArray[Any]) -> NDArray[np.float32]:
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images
