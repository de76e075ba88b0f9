"""The data-set contract and its registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from ...targets.errors import StageError
from ...targets.registry import Registry
from ..section import Section


@dataclass(frozen=True)
class Split:
    """One split: images float32 `[N, C, H, W]` in [0, 1], labels int64 `[N]`, and `index` `[N]`, each
    sample's row in the data set's own order.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64] | slice) -> Split:
        """Return the given rows as a split of their own."""
        return Split(self.images[rows], self.labels[rows], self.index[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set in three disjoint splits; selection of any kind uses `validation`, never `test`."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    @property
    def digest(self) -> str:
        """SHA-256 over every image, label and row number of the three splits."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split in (self.train, self.validation, self.test):
            for array in (split.images, split.labels, split.index):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


Loader = Callable[["DataConfig"], Dataset]

datasets: Registry[Loader] = Registry("dataset", "edgeproof.stages.data", "edgeproof.datasets", functions=True)


class DataConfig(Section):
    """Which data set, and the seed that divides what is not test data into train and validation."""

    dataset: Annotated[str, AfterValidator(datasets.check)]
    seed: int = 0


def load_dataset(config: DataConfig) -> Dataset:
    """Load a data set and check what every stage relies on.

    Raises:
        StageError: the loader returned images outside [0, 1], labels outside the classes, or splits that
            share samples.
    """
    dataset = datasets[config.dataset](config)
    _check(dataset)
    return dataset


def _check(dataset: Dataset) -> None:
    for name in ("train", "validation", "test"):
        split: Split = getattr(dataset, name)
        where = f"dataset {dataset.name!r}, {name} split"
        if split.images.dtype != np.float32 or split.images.ndim != 4:
            raise StageError(f"{where}: images must be float32 [N, C, H, W]")
        if not (np.all(split.images >= 0) and np.all(split.images <= 1)):
            raise StageError(f"{where}: images must lie in [0, 1]")
        if not np.all((split.labels >= 0) & (split.labels < len(dataset.class_names))):
            raise StageError(f"{where}: labels must lie in [0, {len(dataset.class_names)})")
    rows = [set(split.index.tolist()) for split in (dataset.train, dataset.validation)]
    if rows[0] & rows[1]:
        raise StageError(f"dataset {dataset.name!r}: train and validation share samples")
