"""Transfer pool: adversarial packs of earlier runs, found on other engines or on this one before it changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...core.errors import UsageError
from ...core.model_file import sha256_of
from ..adversarial_pack import read_pack
from ..data import Split
from ..threat import ThreatModel
from .attacks.autoattack import inside
from .evidence.candidates import Candidates

# Two ways to divide by 255 differ by less.
_SAME_IMAGE = 1e-6


def read_earlier(packs: Sequence[Path], test: Split, threat: ThreatModel) -> Candidates:
    """Read the candidates of earlier runs, put into this run's ball.

    Args:
        packs: `adversarial/<subject>.npz` of each.
        test: the data set's test split, which they must be about.
        threat: the ball.

    Raises:
        UsageError: a file is missing, broken, not the one that its manifest lists, or about other images.
    """
    return Candidates.join([_read(path, test, threat) for path in packs], test.images.shape[1:])


def described(packs: Sequence[Path]) -> dict[str, list[dict[str, str]]]:
    """What a manifest says of the packs that were replayed; nothing where there are none."""
    listed = [{"file": pack.name, "sha256": sha256_of(pack)} for pack in packs]
    return {"replayed": listed} if listed else {}


def _read(path: Path, test: Split, threat: ThreatModel) -> Candidates:
    found, _ = read_pack(path, empty=True)
    index, clean = found["index"], found["clean"]
    position = {row: place for place, row in enumerate(test.index.tolist())}
    rows = np.array([position.get(row, -1) for row in index.tolist()], np.int64)
    if clean.shape[1:] != test.images.shape[1:]:
        raise UsageError(f"{path}: its images are {clean.shape[1:]}, those of the data set are {test.images.shape[1:]}")
    apart = np.abs(clean - test.images[rows]).max((1, 2, 3))
    wrong = (rows < 0) | (found["label"] != test.labels[rows]) | ~(apart <= _SAME_IMAGE)
    if wrong.any():
        raise UsageError(f"{path}: is about other test images or labels (row {index[wrong.argmax()]})")
    images = inside(torch.from_numpy(found["adversarial"]), torch.from_numpy(test.images[rows]), threat).numpy()
    return Candidates(index.astype(np.int64), found["attack"], images)
