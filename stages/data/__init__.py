"""Data sets of images in [0, 1], split once and for all into train, validation and test."""

from .base import DataConfig, Dataset, Generated, Split, datasets
from .divide import divide
from .load import as_tests, load_dataset

__all__ = ["DataConfig", "Dataset", "Generated", "Split", "as_tests", "datasets", "divide", "load_dataset"]
