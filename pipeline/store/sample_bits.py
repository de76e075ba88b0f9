"""Per-sample correctness bits of a run, `verification/<subject>.npz`, and the manifest of its adversarial packs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UsageError
from ...core.reading.arrays import read_npz
from ...stages.adversarial_pack_manifest import MANIFEST, read_manifest

NEEDED = ("index", "label", "clean_correct")
# Of some columns of a million samples.
_MOST = 256 << 20
# The other threat model is no step on the way to the worst case.
NO_ROUTE = (*NEEDED, "robust_8bit")


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Read `verification/<subject>.npz`: index and label [N], then columns of booleans [N], the routes in their order.

    Raises:
        UsageError: the file is missing, broken, or holds something else.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; it lies in the run's folder, beside its report.json")
    try:
        arrays = read_npz(path, most=_MOST)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: no per-sample bits (verification/<subject>.npz of a run)") from error
    index = arrays.get("index")
    fits = (
        index is not None
        and index.ndim == 1
        and all(arrays[key].dtype.kind in "iu" for key in ("index", "label") if key in arrays)
        and len(np.unique(index)) == len(index)
        and {*NEEDED} <= {*arrays}
        and all(array.shape == index.shape for array in arrays.values())
        and all(array.dtype == bool for key, array in arrays.items() if key not in ("index", "label"))
    )
    if not fits:
        raise UsageError(
            f"{path}: no per-sample bits (verification/<subject>.npz of a run): "
            "index, label, clean_correct and a column of booleans for each route, every row once"
        )
    return arrays


def pack_manifest(run: Path, *, needed: bool = False) -> Mapping[str, Any]:
    """What a run says of its packs; nothing where an older one, or a copied file, says nothing.

    Args:
        run: its folder.
        needed: whether there must be one that lists the packs.

    Raises:
        UsageError: the file is no manifest, or it is missing and needed.
    """
    path = run / "adversarial" / MANIFEST
    try:
        found = read_manifest(path)
    except FileNotFoundError:
        if not needed:
            return {}
        found = None
    except (OSError, ValueError):
        found = None
    if needed and (found is None or "packs" not in found):
        raise UsageError(f"{path}: no manifest of packs; build or verify again")
    if found is None:
        raise UsageError(f"{path}: no manifest of packs; copy adversarial/{MANIFEST} of the run, or remove it")
    return found
