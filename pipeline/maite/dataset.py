"""Test split of a data set as a MAITE image classification data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stages.data import load_dataset
from ..request.arguments import data_config


class Dataset:
    """The test images of a data set by the protocol `maite.protocols.image_classification.Dataset`.

    A datum is an image, float32 `(C, H, W)` in [0, 1], its class, one-hot `(K,)`, and `{"id": row}`, the row that
    reports and packs name it by.

    Args:
        dataset: a name, a folder of images, an .npz file, or `package.module:function`.
        data_root: folder of local copies of data sets.

    Raises:
        UsageError: there is none, or its files are missing.
    """

    def __init__(self, dataset: str | Path, *, data_root: str | Path | None = None) -> None:
        found = load_dataset(data_config(dataset, data_root), tests_only=True)
        self._test = found.test
        self._classes = np.eye(len(found.class_names), dtype=np.float32)
        self.metadata: dict[str, Any] = {"id": found.name, "index2label": dict(enumerate(found.class_names))}

    def __len__(self) -> int:
        return len(self._test)

    def __getitem__(self, number: int, /) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"{number} of {len(self)} images")
        datum = self._test.take(np.array([number]))
        return datum.images[0], self._classes[datum.labels[0]].copy(), {"id": int(datum.index[0])}
