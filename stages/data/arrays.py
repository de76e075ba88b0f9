"""NPZ arrays that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...core.errors import UsageError
from ...core.reading.arrays import npz_keys, read_npz

# How an .npz and an .npy file begin.
_ZIP, _ARRAY = b"PK", b"\x93NUMPY"


def read_arrays(path: Path, keys: Sequence[str], also: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Read arrays by their keys; no pickles.

    Args:
        path: the file.
        keys: what it must have.
        also: what is read where it is there.

    Raises:
        UsageError: the file is missing or corrupt, is a single array, or lacks a key.
    """
    wanted = " and ".join(f"`{key}`" for key in keys)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; an .npz file with {wanted} is needed")
    try:
        with path.open("rb") as file:
            kind = file.read(len(_ARRAY))
        if not kind.startswith(_ZIP) and kind != _ARRAY:
            raise UsageError(f"{path}: is no intact .npz file (it does not begin like one)")
        if kind == _ARRAY:
            raise UsageError(f"{path}: is a single array; an .npz file with {wanted} is needed")
        found = npz_keys(path)
        for key in keys:
            if key not in found:
                raise UsageError(f"{path}: has no key {key!r} (it has: {', '.join(found) or 'none'})")
        return read_npz(path, (*keys, *also))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: is no intact .npz file ({' '.join(str(error).split())})") from error
