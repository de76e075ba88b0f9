"""scikit-learn's bundled handwritten digits: 1,797 real 8×8 images, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test set).
"""

from __future__ import annotations

import numpy as np

from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..images import refuse_resize

TEST_SIZE = 500
VALIDATION_SIZE = 200


@datasets.register("digits")
def digits(config: DataConfig) -> Dataset:
    """Load the digits in stratified splits of 1,097 / 200 / 500 images; the test split never changes."""
    from sklearn.datasets import load_digits

    refuse_resize(config, 8)
    pixels, targets = load_digits(return_X_y=True)
    images = (np.asarray(pixels, np.float32) / 16.0).reshape(-1, 1, 8, 8)
    names = [str(digit) for digit in range(10)]
    return divide("digits", names, images, targets, config, test_size=TEST_SIZE, validation=VALIDATION_SIZE)
