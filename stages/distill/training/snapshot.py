"""Training checkpoint: the whole state at the end of an epoch, from which a killed training goes on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ....core.atomic_write import replacing
from ....core.errors import StageError

SNAPSHOT = "resume.pt"


def write_snapshot(folder: Path, state: dict[str, Any]) -> None:
    """Write `resume.pt` so that a kill at any moment leaves the old one or the new one, whole.

    Args:
        folder: the training's folder.
        state: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        OSError: the disk is full or the folder is gone; the old snapshot is still there.
    """
    with replacing(folder / SNAPSHOT) as partial, partial.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's zip writer reports a full disk in its own words
            raise OSError(f"cannot write {partial}: {str(error).splitlines()[0]}") from error


def read_snapshot(folder: Path) -> dict[str, Any] | None:
    """Return what `write_snapshot` wrote, or None if there is nothing.

    Raises:
        StageError: the file is damaged.
    """
    path = folder / SNAPSHOT
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise StageError(f"{path}: damaged; delete it to train from the start") from error


def drop_snapshot(folder: Path) -> None:
    """Remove the snapshot of a finished training."""
    (folder / SNAPSHOT).unlink(missing_ok=True)
