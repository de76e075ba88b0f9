"""Command arguments that several commands read alike: data set, ball, the option that an error names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from ...core.errors import UsageError
from ...stages.data import DataConfig
from ...stages.data.base import folder_or_file
from ...stages.threat import ThreatModel
from ..recipe.validation_errors import one_line


@contextmanager
def option(prefix: str, worded: Callable[[str], str] = str) -> Iterator[None]:
    """Name the command's option in front of a usage error, whose text `worded` may put otherwise.

    What names an option of that one's own, `--surrogate-layout` of `--surrogate: `, is left as it is.
    """
    try:
        yield
    except UsageError as error:
        text = worded(str(error))
        raise UsageError(text if text.startswith(prefix.replace(": ", "-")) else f"{prefix}{text}") from None


def data_config(
    dataset: str | Path,
    root: str | Path | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    *,
    grey: bool = False,
) -> DataConfig:
    """Which data set, where, and how its images are read.

    Raises:
        UsageError: names the option that is wrong.
    """
    if root is not None and folder_or_file(str(dataset)) is not None:
        raise UsageError(f"--data-root: {dataset} says already where it lies; leave it out")
    try:
        return DataConfig.model_validate(
            {"dataset": str(dataset), "root": root, "image_size": image_size, "grey": grey}
        )
    except ValidationError as error:
        raise UsageError(f"--{one_line(error, DataConfig).replace('image_size', 'image-size', 1)}") from None


def threat_model(norm: str, eps: float | str) -> ThreatModel:
    """The ball.

    Raises:
        UsageError: names the option that is wrong.
    """
    try:
        return ThreatModel.model_validate({"norm": norm, "eps": eps})
    except ValidationError as error:
        raise UsageError(f"--{one_line(error, ThreatModel)}") from None
