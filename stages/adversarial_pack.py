"""Adversarial pack, `adversarial/<subject>.npz` of a run, as it is read again; needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import UsageError
from ..core.reading.arrays import read_npz
from .adversarial_pack_manifest import check_pack

KEYS = ("index", "label", "attack", "adversarial", "clean", "robust")
_KINDS = {"index": "iu", "label": "iu", "attack": "U", "adversarial": "f", "clean": "f", "robust": "b"}


def read_pack(path: Path, *, empty: bool = False) -> tuple[dict[str, np.ndarray], Path | None]:
    """Read a pack that its manifest, if there is one, vouches for; return that as well.

    Args:
        path: `adversarial/<subject>.npz`.
        empty: whether one without candidates will do, as of a subject that got no image right.

    Returns:
        Arrays by name: `index`, `label`, `attack`, `robust` `[M]`, `adversarial` and `clean` `[M, C, H, W]` float32.

    Raises:
        UsageError: it is missing, broken, or not the one that the manifest lists.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    manifest = check_pack(path)
    try:
        arrays = read_npz(path, KEYS)
        found = {key: arrays[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: no pack of adversarial examples (adversarial/<subject>.npz of a run)") from error
    images, count = found["adversarial"], found["index"].size
    fits = images.ndim == 4 and images.shape == found["clean"].shape
    fits = fits and all(a.ndim == (4 if a.dtype == np.float32 else 1) and len(a) == count for a in found.values())
    fits = fits and all(found[key].dtype.kind in kinds for key, kinds in _KINDS.items())
    if not fits or not (count or empty) or images.dtype != np.float32:
        raise UsageError(f"{path}: holds no candidates, or its arrays do not fit each other")
    return found, manifest
