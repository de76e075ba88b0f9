"""Images of one's own as arrays in an .npz file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import UsageError
from ..arrays import read_arrays
from ..base import DataConfig, Dataset, Split, datasets
from ..divide import divide
from ..images import refuse_resize
from ..labelled import in_floats, labelled


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
    path = Path(os.path.expanduser(path)).absolute()
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
    test = Split(in_floats(images), labels, np.arange(len(labels)))
    nothing = test.take(slice(0, 0))
    return Dataset("npz", names, nothing, nothing, test, sources=(path,))


def _labelled(
    path: Path, arrays: dict[str, NDArray[Any]], key: str, label_key: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if label_key not in arrays:
        raise UsageError(f"{path}: has {key} and no {label_key}")
    return labelled(arrays[key], arrays[label_key], named=(key, label_key), where=f"{path}: ")
