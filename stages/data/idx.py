"""IDX format of the MNIST family: a big-endian header, then the values."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError

_UINT8 = 8


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes from an IDX file, gzipped or not.

    Args:
        path: the file; gzipped if its name ends in .gz.
        dimensions: how many the array must have.

    Raises:
        UsageError: the file is none, is cut off or corrupt, or holds something else.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    if content[:4] != bytes([0, 0, _UINT8, dimensions]):
        raise UsageError(f"{path}: is no IDX file of bytes in {dimensions} dimensions")
    header = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:header].ljust(header - 4, b"\0"), ">u4").tolist())
    if len(content) - header != np.prod(shape):
        raise UsageError(
            f"{path}: is cut off or corrupt: its header says {np.prod(shape)} values, "
            f"and {max(len(content) - header, 0)} follow"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
