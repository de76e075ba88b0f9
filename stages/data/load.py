"""Data set loading: what every stage gets its images from."""

from __future__ import annotations

from dataclasses import replace

from ...core.errors import EdgeproofError, StageError, UsageError
from ...core.function import is_function
from ...core.user_modules import fault_line
from .base import DataConfig, Dataset, datasets, test_readings
from .contract import checked
from .generated import read_generated


def as_tests(config: DataConfig) -> DataConfig | None:
    """The same files read as test images, all of them, where nothing says that a part of them was trained on.

    Returns:
        None where something does, or the data set has a test split of its own.
    """
    return test_readings[config.dataset](config) if config.dataset in test_readings.names() else None


def load_dataset(config: DataConfig, *, tests_only: bool = False) -> Dataset:
    """Load a data set into memory, as float32 in [0, 1], and check what every stage relies on.

    Args:
        config: which one.
        tests_only: whether test images are enough. Image files are then decoded where somebody takes or indexes them,
            of a large folder only what is attacked.

    Raises:
        UsageError: files are missing, corrupt or of the wrong shape, or the config asks for more images than
            there are, or there are test images and more is needed (exit code 2).
        StageError: a download failed, or the loader raised or returned something that is no data set
            (exit code 3).
    """
    where = f"dataset {config.dataset!r}"
    try:
        found = datasets[config.dataset](config)
    except EdgeproofError:
        raise
    except Exception as error:  # a user's function may fail in any way
        reason = " ".join(str(error).split())
        line = fault_line(error, config.dataset.partition(":")[0]) if is_function(config.dataset) else ""
        raise StageError(f"{where}: loading it raised {type(error).__name__}{reason and ': '}{reason}{line}") from error
    dataset = checked(found, where)
    if not tests_only:
        if dataset.tests_only:
            raise UsageError(f"{where}: has test images only; there is nothing to train on or to select by")
        dataset = dataset.decoded
    if config.extra is None:
        return dataset
    generated = read_generated(config.extra, config.extra_fraction, dataset)
    return replace(dataset, generated=generated, sources=(*dataset.sources, config.extra))
