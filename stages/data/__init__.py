"""Data sets of images in [0, 1], split once and for all into train, validation and test."""

from .base import DataConfig, Dataset, Split, datasets, load_dataset

__all__ = ["DataConfig", "Dataset", "Split", "datasets", "load_dataset"]
