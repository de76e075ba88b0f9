"""scikit-learn's bundled handwritten digits: 1,797 real 8×8 images, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test set).
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .base import DataConfig, Dataset, Split, datasets

TEST_SIZE = 500
VALIDATION_SIZE = 200
# Fixed, so that figures of different runs speak of the same test images.
TEST_SEED = 0


@datasets.register("digits")
def digits(config: DataConfig) -> Dataset:
    """Load the digits in stratified splits of 1,097 / 200 / 500 images; the test split never changes."""
    pixels, targets = load_digits(return_X_y=True)
    images = (np.asarray(pixels, np.float32) / 16.0).reshape(-1, 1, 8, 8)
    labels = np.asarray(targets, np.int64)
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=TEST_SIZE, stratify=labels, random_state=TEST_SEED)
    train, validation = train_test_split(
        rest, test_size=VALIDATION_SIZE, stratify=labels[rest], random_state=config.seed
    )

    splits = (
        Split(images[chosen], labels[chosen], np.asarray(chosen, np.int64)) for chosen in (train, validation, test)
    )
    return Dataset("digits", tuple(str(digit) for digit in range(10)), *splits)
