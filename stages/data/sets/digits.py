"""scikit-learn's bundled handwritten digits: 1,797 real 8×8 images, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test set).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..images import refuse_resize

TEST_SIZE = 500
VALIDATION_SIZE = 200


@datasets.register("digits")
def digits(config: DataConfig) -> Dataset:
    """Load the digits in stratified splits of 1,097 / 200 / 500 images; the test split never changes."""
    refuse_resize(config, 8, 8)
    # Importing scikit-learn for its file alone would take most of a second.
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    table = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    pixels, targets = table[:, :-1], table[:, -1].astype(np.int64)
    images = (np.asarray(pixels, np.float32) / 16.0).reshape(-1, 1, 8, 8)
    names = [str(digit) for digit in range(10)]
    return divide("digits", names, images, targets, config, test_size=TEST_SIZE, validation=VALIDATION_SIZE)
