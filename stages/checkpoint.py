"""Checkpoints: safetensors, or a `.pt` of plain tensors; never a pickle that runs code."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.errors import UsageError
from .normalization import Normalization
from .state_dicts import OPTIONAL, StateDict, fitting, state_dicts

# What a stage calls the weights it stands for.
WEIGHTS = "model.safetensors"

SAFETENSORS = ".safetensors"
# Of what `torch.save` writes: PyTorch's own habits, Lightning's, the old ImageNet example's (.pth.tar), the Hub's.
PICKLES = (".pt", ".pth", ".ckpt", ".tar", ".bin")
SUFFIXES = (SAFETENSORS, *PICKLES)
# What scripts keep beside the weights and torch does not know: values that are built of values, and run nothing. numpy
# was `numpy.core` before version 2.
_scalar, _array = (getattr(np._core.multiarray, name) for name in ("scalar", "_reconstruct"))  # pyright: ignore
_VALUES: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    *(
        (found, f"numpy.{core}.multiarray.{found.__name__}")
        for core in ("core", "_core")
        for found in (_scalar, _array)
    ),
]
_SHOWN = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.

    Attributes:
        weights: the state dict.
        model: the name of the model it belongs to, where the file tells it.
        normalize: what the model expects its images to be normalised with, where the file tells it.
        choice: what a user should know of how these were chosen among several, in one line.
    """

    weights: dict[str, Tensor]
    model: str | None = None
    normalize: Normalization | None = None
    choice: str | None = None


def save_weights(
    weights: Mapping[str, Tensor], path: Path, *, model: str, normalize: Normalization | None = None
) -> None:
    """Write a state dict as safetensors, with the name of its model and the normalisation before it."""
    metadata = {"model": model} | ({} if normalize is None else {"normalize": normalize.model_dump_json()})
    # Clones: safetensors refuses tensors that share memory, as tied weights do.
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, path, metadata)


def read_weights(path: Path, names: Iterable[str] = ()) -> tuple[dict[str, Tensor], str | None]:
    """Read a checkpoint; return its state dict and the model's name where the file tells it; see `read_checkpoint`."""
    found = read_checkpoint(path, names)
    return found.weights, found.model


def read_checkpoint(
    path: Path, names: Iterable[str] = (), *, weights: str | None = None, wrappers: Sequence[str] = ()
) -> Checkpoint:
    """Read a checkpoint: `.safetensors`, or what `torch.save` made of tensors and plain values.

    Args:
        path: the file.
        names: of the model's own state dict: the file may hold others as well, and have a prefix before the names.
        weights: which, where there are several: see `TeacherConfig`.
        wrappers: further keys that win over others under which a state dict may lie.

    Raises:
        UsageError: the file is missing, broken, of an unknown kind, or a pickle that wants to run code; or what is
            meant is not in it, or is not clear.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix == SAFETENSORS:
        found, metadata = _read_safetensors(path)
        normalize = _normalization(path, metadata)
    elif path.suffix in PICKLES:
        found, metadata, normalize = list(state_dicts(_read_pickle(path))), dict[str, str](), None
    else:
        raise UsageError(f"{path}: a checkpoint is a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    if not found:
        raise UsageError(f"{path}: holds no state dict (names to tensors)")
    one, choice = fitting(found, set(names), weights, path, wrappers)
    return Checkpoint(one.weights, metadata.get("model"), normalize, choice)


def load_into(model: nn.Module, weights: Mapping[str, Tensor], *, path: Path, name: str) -> None:
    """Load a state dict whose names and shapes must all fit, but for what the model says it does not use.

    Args:
        model: the model of the registry name `name`.
        weights: its state dict.
        path: where the weights came from, for messages.
        name: the model's name, for messages.

    Raises:
        UsageError: names or shapes do not fit; says which.
    """
    unused: tuple[str, ...] = getattr(model, "unused_weights", ())
    weights = {key: value for key, value in weights.items() if not key.startswith(unused)}
    own = model.state_dict()
    # How many batches a BatchNorm has seen says nothing in use, and old files do not say it.
    weights |= {key: value for key, value in own.items() if key.endswith(OPTIONAL) and key not in weights}
    expected = {key: tuple(value.shape) for key, value in own.items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    problems = [
        f"{key} is {list(found[key])} in the file and {list(expected[key])} in the model"
        for key in expected
        if key in found and found[key] != expected[key]
    ]
    problems += [f"{key} {list(expected[key])} is missing in the file" for key in expected if key not in found]
    problems += [f"{key} {list(found[key])} is not in the model" for key in found if key not in expected]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UsageError(f"{path}: does not fit model {name!r}: {'; '.join(problems[:_SHOWN])}{more}")
    model.load_state_dict(weights)


def named_model(path: Path) -> str | None:
    """Return the name of the model that a checkpoint says it is of, without reading its weights.

    Raises:
        UsageError: the file is missing or broken.
    """
    return (
        _open_safetensors(path, lambda file: file.metadata() or {}).get("model") if path.suffix == SAFETENSORS else None
    )


def _open_safetensors(path: Path, read: Callable[[Any], T]) -> T:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except SafetensorError as error:
        raise UsageError(f"{path}: not a valid safetensors file ({error})") from None


def _read_safetensors(path: Path) -> tuple[list[StateDict], dict[str, str]]:
    weights, metadata = _open_safetensors(
        path,
        lambda file: ({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}),  # noqa: SIM118
    )
    return list(state_dicts(weights)), metadata


def _normalization(path: Path, metadata: Mapping[str, str]) -> Normalization | None:
    try:
        return Normalization.model_validate_json(metadata["normalize"]) if "normalize" in metadata else None
    except ValidationError:
        raise UsageError(f"{path}: its metadata holds no valid normalisation: {metadata['normalize']}") from None


def _read_pickle(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_VALUES):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):
            raise UsageError(f"{path}: not a valid PyTorch checkpoint") from None
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise UsageError(
            f"{path}: the file wants to run code when it is loaded{what}, which is refused; "
            "save a plain state dict, best as .safetensors"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: not a valid PyTorch checkpoint ({reason})") from None
