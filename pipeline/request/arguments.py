"""Command arguments that several commands read alike: data set, ball, the option that an error names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from ...core.errors import UsageError
from ...stages.data import DataConfig, datasets
from ...stages.threat import ThreatModel
from ..recipe.validation_errors import one_line


@contextmanager
def option(prefix: str) -> Iterator[None]:
    """Name the command's option in front of a usage error."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{prefix}{error}") from None


def data_config(dataset: str, root: str | Path | None = None, image_size: int | None = None) -> DataConfig:
    """Which data set, where, and how large its images; the name of an .npz file is that data set.

    Raises:
        UsageError: names the option that is wrong.
    """
    if dataset.lower().endswith(".npz"):
        if root is not None:
            raise UsageError(f"--data-root: {dataset} is a file already; leave it out")
        dataset, root = "npz", dataset
    with option("--dataset: "):
        datasets[dataset]
    try:
        return DataConfig.model_validate({"dataset": dataset, "root": root, "image_size": image_size})
    except ValidationError as error:
        raise UsageError(f"--{one_line(error, DataConfig)}") from None


def threat_model(norm: str, eps: float | str) -> ThreatModel:
    """The ball.

    Raises:
        UsageError: names the option that is wrong.
    """
    try:
        return ThreatModel.model_validate({"norm": norm, "eps": eps})
    except ValidationError as error:
        raise UsageError(f"--{one_line(error, ThreatModel)}") from None
