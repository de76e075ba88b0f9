"""`load_dataset`: what every stage gets its images from."""

from __future__ import annotations

from dataclasses import replace

from ...targets.errors import EdgeproofError, StageError
from .base import DataConfig, Dataset, datasets
from .contract import checked
from .generated import read_generated


def load_dataset(config: DataConfig) -> Dataset:
    """Load a data set into memory, as float32 in [0, 1], and check what every stage relies on.

    Raises:
        UsageError: files are missing, corrupt or of the wrong shape, or the config asks for more images than
            there are (exit code 2).
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
        raise StageError(f"{where}: loading it raised {type(error).__name__}{reason and ': '}{reason}") from error
    dataset = checked(found, where)
    if config.extra is None:
        return dataset
    generated = read_generated(config.extra, config.extra_fraction, dataset)
    return replace(dataset, generated=generated, sources=(*dataset.sources, config.extra))
