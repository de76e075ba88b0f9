"""Checkpoints: safetensors, or a `.pt` of plain tensors; never a pickle that runs code."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.errors import UsageError
from .normalization import Normalization

# What a stage calls the weights it stands for.
WEIGHTS = "model.safetensors"

# Wrappers that training scripts put around a state dict, and prefixes that wrappers put before its names.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.

    Attributes:
        weights: the state dict.
        model: the name of the model it belongs to, where the file tells it.
        normalize: what the model expects its images to be normalised with, where the file tells it.
    """

    weights: dict[str, Tensor]
    model: str | None = None
    normalize: Normalization | None = None


def save_weights(
    weights: Mapping[str, Tensor], path: Path, *, model: str, normalize: Normalization | None = None
) -> None:
    """Write a state dict as safetensors, with the name of its model and the normalisation before it."""
    metadata = {"model": model} | ({} if normalize is None else {"normalize": normalize.model_dump_json()})
    # Clones: safetensors refuses tensors that share memory, as tied weights do.
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, path, metadata)


def read_weights(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Read a checkpoint; return its state dict and the model's name where the file tells it; see `read_checkpoint`."""
    found = read_checkpoint(path)
    return found.weights, found.model


def read_checkpoint(path: Path, *wrappers: str) -> Checkpoint:
    """Read a checkpoint: `.safetensors`, or `.pt` and `.pth` of plain tensors.

    Args:
        path: the file.
        wrappers: further keys under which a pickle may hold its state dict.

    Raises:
        UsageError: the file is missing, broken, of an unknown kind, or a pickle that wants to run code.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if _is_safetensors(path):
        return _read_safetensors(path)
    if path.suffix in (".pt", ".pth"):
        return Checkpoint(_read_pickle(path, wrappers))
    raise UsageError(f"{path}: a checkpoint is a .safetensors, .pt or .pth file")


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
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
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
    return _open_safetensors(path, lambda file: file.metadata() or {}).get("model") if _is_safetensors(path) else None


def _is_safetensors(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _open_safetensors(path: Path, read: Callable[[Any], T]) -> T:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except SafetensorError as error:
        raise UsageError(f"{path}: not a valid safetensors file ({error})") from None


def _read_safetensors(path: Path) -> Checkpoint:
    weights, metadata = _open_safetensors(
        path,
        lambda file: ({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}),  # noqa: SIM118
    )
    try:
        normalize = Normalization.model_validate_json(metadata["normalize"]) if "normalize" in metadata else None
    except ValidationError:
        raise UsageError(f"{path}: its metadata holds no valid normalisation: {metadata['normalize']}") from None
    return Checkpoint(weights, metadata.get("model"), normalize)


def _read_pickle(path: Path, wrappers: tuple[str, ...]) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):
            raise UsageError(f"{path}: not a valid PyTorch checkpoint") from None
        raise UsageError(
            f"{path}: the file wants to run code when it is loaded, which is refused; "
            "save a plain state dict, best as .safetensors"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: not a valid PyTorch checkpoint ({reason})") from None
    for wrapper in (*_WRAPPERS, *wrappers):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(f"{path}: holds no state dict (names to tensors)")
    return {_bare(str(name)): value for name, value in loaded.items()}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
