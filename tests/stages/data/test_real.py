"""The real data sets, where $EDGEPROOF_DATA names a folder that holds them; nothing is downloaded.

Sizes, class counts and first labels are those of the published files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from edgeproof.core.errors import StageError
from edgeproof.stages.data import DataConfig, load_dataset

REAL = os.environ.get("EDGEPROOF_DATA")


@dataclass(frozen=True)
class Known:
    """What is known of a data set without us."""

    shape: tuple[int, int, int]
    sizes: tuple[int, int]  # of the training file and of the test file
    per_class: list[int] | int  # in both together
    first: list[int]  # labels of the test file's first samples
    first_train: list[int]


MNIST = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
SVHN = [6692, 18960, 14734, 11379, 9981, 9266, 7704, 7614, 6705, 6254]
KNOWN = {
    "mnist": Known((1, 28, 28), (60_000, 10_000), MNIST, [7, 2, 1, 0, 4], [5, 0, 4, 1, 9]),
    "fashion_mnist": Known((1, 28, 28), (60_000, 10_000), 7000, [9, 2, 1, 1, 6], [9, 0, 0, 3, 0]),
    "cifar10": Known((3, 32, 32), (50_000, 10_000), 6000, [3, 8, 8, 0, 6], [6, 9, 9, 4, 1]),
    "cifar100": Known((3, 32, 32), (50_000, 10_000), 600, [49, 33, 72, 51, 71], [19, 29, 0, 11, 1]),
    "svhn": Known((3, 32, 32), (73_257, 26_032), SVHN, [5, 2, 1, 0, 6], [1, 9, 2, 3, 2]),
    "gtsrb": Known((3, 32, 32), (26_640, 12_630), [], [16, 1, 38, 33, 11], [0, 0, 0, 0, 0]),
    "eurosat": Known(
        (3, 64, 64), (21_600, 5_400), [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000], [], []
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="EDGEPROOF_DATA names no folder of real data sets")
@pytest.mark.parametrize("name", KNOWN)
def test_the_published_files(name: str):
    known = KNOWN[name]
    try:
        data = load_dataset(DataConfig.model_validate({"dataset": name, "root": REAL}))
    except StageError as error:
        if "is not in" in str(error):  # conftest.py lets nothing be downloaded
            pytest.skip(f"EDGEPROOF_DATA holds no {name}")
        raise
    rest = np.concatenate([data.train.index, data.validation.index])
    labels = np.concatenate([data.train.labels, data.validation.labels])
    assert data.image_shape == known.shape
    assert (len(rest), len(data.test)) == known.sizes
    assert len(np.unique(rest)) == len(rest)
    per_class = np.bincount(np.concatenate([labels, data.test.labels]))
    if known.per_class:
        assert np.all(per_class == known.per_class)
    assert len(per_class) == len(data.class_names)
    if known.first:
        assert data.test.labels[:5].tolist() == known.first
        assert labels[np.argsort(rest)][:5].tolist() == known.first_train
    assert len(data.validation) == min(5000, round(0.1 * len(rest)))
    for split in (data.train, data.validation, data.test):
        assert 0 <= split.images.min() < 0.1 < split.images.mean() < 0.9 < split.images.max() <= 1
