"""Train, validation and test split: by class, and the test split never by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UsageError
from .base import DataConfig, Dataset, Split
from .images import ImageFiles
from .stratify import stratified_split

# Fixed, so that figures of different runs speak of the same test images.
TEST_SEED = 0
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
MOST_VALIDATION = 5000

Rows = NDArray[np.int64]
Images = NDArray[np.uint8] | NDArray[np.float32] | ImageFiles


def divide(
    name: str,
    class_names: Sequence[str],
    images: Images,
    labels: ArrayLike,
    config: DataConfig,
    *,
    test: tuple[Images, ArrayLike] | None = None,
    test_size: int | None = None,
    validation: int | None = None,
    sources: Sequence[Path] = (),
) -> Dataset:
    """Divide labelled images as the config asks: validation and `config.train` are drawn by class, by its seed.

    Args:
        name: the data set's name.
        class_names: one for each label.
        images: `[N, C, H, W]`, uint8 in [0, 255] or float32 in [0, 1], of any layout in memory; or files.
        labels: integers `[N]`.
        config: its seed, validation and train are used.
        test: images and labels of the test split; where left out, it is drawn from `images` by class, always
            the same.
        test_size: how many images are drawn for it; a fifth where left out.
        validation: held-out images where the config does not say; a tenth, at most 5,000, where left out.
        sources: the files and folders it was read from.

    Raises:
        UsageError: the config asks for more images than there are, or for too few to hold every class.
    """
    classes = np.asarray(labels, np.int64)
    rows = np.arange(len(classes))
    names = tuple(class_names)
    where = f"dataset {name!r}"
    if test is None:
        count = test_size or _at_least_one_each(round(TEST_SHARE * len(rows)), classes)
        rows, test_rows = hold_out(rows, classes, count, TEST_SEED, f"{where}: its test split", names)
        test_split = _split(images, classes, test_rows)
    else:
        test_split = _split(test[0], np.asarray(test[1], np.int64), np.arange(len(test[0])))
    count = _validation_count(config, rows, classes, validation)
    train_rows, held = hold_out(rows, classes, count, config.seed, f"{where}: data.validation", names)
    if config.train is not None and config.train != len(train_rows):
        if config.train > len(train_rows):
            raise UsageError(f"{where}: data.train: {config.train} is more than its {len(train_rows)} training images")
        _, train_rows = hold_out(train_rows, classes, config.train, config.seed, f"{where}: data.train", names)
    train, held_out = _split(images, classes, train_rows), _split(images, classes, held)
    files = [each.digest for each in (images, *(test or ())[:1]) if isinstance(each, ImageFiles)]
    digest = "+".join(files) or None
    return Dataset(name, names, train, held_out, test_split, sources=tuple(sources), files_digest=digest)


def hold_out(
    rows: Rows, labels: NDArray[np.int64], count: int, seed: int, what: str, names: Sequence[str]
) -> tuple[Rows, Rows]:
    """Divide rows by class into the rest and `count` held-out ones, the same for the same seed.

    Raises:
        UsageError: a side would be too small to hold every class.
    """
    found, each = np.unique(labels[rows], return_counts=True)
    if each.min() < 2:
        scarce = names[found[each.argmin()]]
        raise UsageError(f"{what}: class {scarce!r} has a single image left to divide; two are needed")
    if count < len(found):
        raise UsageError(f"{what}: {count} images cannot hold all {len(found)} classes")
    if count > len(rows) - len(found):
        most = max(len(rows) - len(found), 0)
        raise UsageError(f"{what}: {count} of {len(rows)} images leave too few; at most {most} can be drawn")
    return stratified_split(rows, labels[rows], count, seed)


def _validation_count(config: DataConfig, rows: Rows, labels: NDArray[np.int64], default: int | None) -> int:
    if isinstance(config.validation, int):
        return config.validation
    if config.validation is not None:
        return round(config.validation * len(rows))
    if default is not None:
        return default
    return _at_least_one_each(min(round(VALIDATION_SHARE * len(rows)), MOST_VALIDATION), labels[rows])


def _at_least_one_each(count: int, labels: NDArray[np.int64]) -> int:
    return max(count, len(np.unique(labels)))


def _split(images: Images, labels: NDArray[np.int64], rows: Rows) -> Split:
    if isinstance(images, ImageFiles):
        return images.split(labels, rows)
    pixels = images[rows]
    if pixels.dtype == np.uint8:
        pixels = np.divide(pixels, np.float32(255), out=np.empty(pixels.shape, np.float32))
    return Split(np.ascontiguousarray(pixels, np.float32), labels[rows], np.asarray(rows, np.int64))
