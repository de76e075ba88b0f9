"""RobustBench weights: fetched once, kept beside torch's own downloads, loaded without running code."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from ...core.errors import StageError, UsageError, reason_of
from ...core.registry import nearest
from ..models.robustbench import PREFIX, split_name, zoo_entry, zoo_names

# Buffers of the architecture that RobustBench itself lets a file lack: the normalisation.
_FILLED = ("mu", "sigma", "mean", "std")
# What RobustBench itself drops: heads and pruning scores that its architectures do not run.
_DROPPED = ("model_preact_hl1.", "sub_block1.")
_SCORES = ".scores"


def _known(name: str) -> str:
    try:
        known = zoo_names()
    except UsageError as error:
        raise ValueError(f"{name!r} {error}") from None
    if name not in known:
        raise ValueError(f"unknown model {name!r} of RobustBench's zoo{nearest(name, known)}")
    return name


# A name of the zoo, without norm or data set: those are the recipe's.
ZooName = Annotated[str, AfterValidator(_known)]


def model_name(name: str, norm: str) -> str:
    """Return the name by which the zoo's architecture is built."""
    return f"{PREFIX}{norm}/{name}"


def fetch_weights(model: str, classes: int) -> Path:
    """Return the file of a zoo model's weights, downloading it where it is not there yet.

    It lies in `$TORCH_HOME/hub/robustbench/<data set>/<norm>/<Name>.pt` (TORCH_HOME is `~/.cache/torch` by default),
    where it may also be put by hand.

    Args:
        model: `robustbench/<norm>/<Name>`.
        classes: number of classes, which says of which data set.

    Raises:
        UsageError: RobustBench is not installed or has no such model.
        StageError: the download fails.
    """
    norm, name = split_name(model.removeprefix(PREFIX))
    dataset, entry = zoo_entry(name, norm, classes)
    path = Path(torch.hub.get_dir()) / "robustbench" / dataset / norm / f"{name}.pt"
    if not path.is_file():
        _download(name, entry["gdrive_id"], path)
    return path


def is_of_the_zoo(model: str) -> bool:
    """Whether a model's name says that it is RobustBench's."""
    return model.startswith(PREFIX)


def as_the_zoo_reads(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a zoo file's state dict with the names of its architecture, as RobustBench's own loader sees it.

    Args:
        weights: as read from the file.
        model: the architecture.
    """
    expected = model.state_dict()
    bare = {name.removeprefix("model."): value for name, value in weights.items()}
    found = dict(weights) if all(name in expected for name in weights) else bare
    found = {name: value for name, value in found.items() if name in expected or not _is_dropped(name)}
    filled = {name: value for name, value in expected.items() if name.rpartition(".")[2] in _FILLED}
    return {**filled, **found}


def _is_dropped(name: str) -> bool:
    return name.startswith(_DROPPED) or name.endswith(_SCORES)


def _download(name: str, gdrive_id: str, path: Path) -> None:
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # RobustBench's own downloader, and a dependency of it.
        done = import_module("gdown").download(id=gdrive_id, output=str(partial), quiet=True)
        if done is None or not partial.is_file():
            raise OSError("nothing came back")
        partial.replace(path)
    except Exception as error:  # networks fail in any way
        raise StageError(
            f"robustbench {name!r}: the download failed: {reason_of(error)}; fetch "
            f"https://drive.google.com/uc?id={gdrive_id} by hand and name the file as teacher.checkpoint"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
