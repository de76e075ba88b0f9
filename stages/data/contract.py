"""Loader contract check: what a loader must return, checked once so that no stage has to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import StageError
from .base import Dataset, Generated, Split
from .images import ImageFiles
from .pixels import in_range, out_of_range

_SPLITS = ("train", "validation", "test")


def checked(found: object, where: str) -> Dataset:
    """Return `found` if it keeps the contract of `Dataset`, its arrays as torch takes them.

    Args:
        found: what a loader returned.
        where: names the data set in messages.

    Raises:
        StageError: one line with what is wrong and what would be right.
    """
    if not isinstance(found, Dataset):
        raise StageError(f"{where}: must return an edgeproof.stages.data.Dataset, returned {_kind(found)}")
    names = found.class_names
    if not isinstance(names, tuple) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise StageError(f"{where}: class_names must be a tuple of two or more strings, got {_shown(names)}")
    if len(set(names)) < len(names):
        raise StageError(f"{where}: class_names must differ, got {_shown(names)}")
    for name in ("test",) if found.tests_only else _SPLITS:
        _check_split(getattr(found, name), len(names), f"{where}, {name} split")
        found = _with(found, name, _plain(getattr(found, name)))
    shapes = {name: getattr(found, name).images.shape[1:] for name in _SPLITS}
    for name, shape in shapes.items():
        if shape != shapes["train"]:
            raise StageError(
                f"{where}: images of all splits must have one shape, "
                f"got {list(shapes['train'])} in train and {list(shape)} in {name}"
            )
    shared = np.intersect1d(found.train.index, found.validation.index)
    if len(shared):
        raise StageError(f"{where}: train and validation share samples ({len(shared)}, such as index {shared[0]})")
    if found.generated is not None:
        _check_generated(found.generated, len(names), shapes["train"], f"{where}, generated images")
    if not isinstance(found.sources, tuple) or not all(isinstance(path, Path) for path in found.sources):
        raise StageError(f"{where}: sources must be a tuple of paths, got {_shown(found.sources)}")
    return found


def _check_split(split: object, classes: int, where: str) -> None:
    if not isinstance(split, Split):
        raise StageError(f"{where}: must be an edgeproof.stages.data.Split, is {_kind(split)}")
    if not isinstance(split.images, ImageFiles):
        _check_array(split.images, np.float32, 4, f"{where}: images must be float32 [N, C, H, W]")
        if told := out_of_range(split.images):
            raise StageError(f"{where}: images must lie in [0, 1], found {told}")
    _check_rows(split.labels, len(split.images), "labels", where)
    _check_rows(split.index, len(split.images), "index", where)
    _check_labels(split.labels, classes, where)
    if len(np.unique(split.index)) < len(split.index):
        raise StageError(f"{where}: index must give every sample a row of its own")


def _with(dataset: Dataset, name: str, split: Split) -> Dataset:
    return dataset if split is getattr(dataset, name) else replace(dataset, **{name: split})


def _plain(split: Split) -> Split:
    """The split as torch takes it: in C order, forwards, writable; and in [0, 1] where a rounding led out of it."""
    images = split.images if isinstance(split.images, ImageFiles) else _forwards(in_range(split.images))
    labels, index = _forwards(split.labels), _forwards(split.index)
    same = images is split.images and labels is split.labels and index is split.index
    return split if same else Split(images, labels, index)


def _forwards(array: NDArray[Any]) -> NDArray[Any]:
    # An axis of one entry may run backwards in what numpy calls contiguous, and torch refuses it.
    return array.copy() if min(array.strides) < 0 else np.require(array, requirements=["C", "W", "A"])


def _check_generated(generated: object, classes: int, shape: tuple[int, ...], where: str) -> None:
    if not isinstance(generated, Generated):
        raise StageError(f"{where}: must be an edgeproof.stages.data.Generated, is {_kind(generated)}")
    needed = f"[N, {', '.join(map(str, shape))}]"
    _check_array(generated.images, np.uint8, 4, f"{where}: images must be uint8 {needed}")
    if generated.images.shape[1:] != shape:
        raise StageError(f"{where}: images must be uint8 {needed}, got {list(generated.images.shape)}")
    _check_rows(generated.labels, len(generated.images), "labels", where)
    _check_labels(generated.labels, classes, where)
    if not 0 < generated.fraction < 1:
        raise StageError(f"{where}: fraction must lie in (0, 1), got {generated.fraction}")


def _check_array(array: object, kind: type[np.generic], dimensions: int, rule: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != dimensions:
        raise StageError(f"{rule}, got {_kind(array)}")
    if array.size == 0:
        raise StageError(f"{rule} and not empty, got {list(array.shape)}")


def _check_rows(array: object, count: int, what: str, where: str) -> None:
    _check_array(array, np.int64, 1, f"{where}: {what} must be int64 [N]")
    assert isinstance(array, np.ndarray)
    if len(array) != count:
        raise StageError(f"{where}: {count} images have {len(array)} {what}; one each is needed")


def _check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise StageError(f"{where}: labels must lie in [0, {classes}), found {wrong[0]}")


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else _kind(value)
