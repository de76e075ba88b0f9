"""NumPy files (`.npz`, `.npy`): headers before memory, no pickles."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import reason_of
from ..memory import half_the_memory
from .bounded import in_bytes, opened

if TYPE_CHECKING:
    import numpy as np

_SUFFIX = ".npy"
_KINDS = "biufUS"  # booleans, numbers, texts
_LONGEST_HEADER = 10_000
_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # as numpy writes


def read_npz(path: Path, keys: Collection[str] | None = None, *, most: int | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file.

    Args:
        path: the file.
        keys: those that are read where they are there; None for all.
        most: bytes that they may take together; None for half of the machine's memory.

    Raises:
        ValueError: it is no such file, or truncated; an array is there twice, of objects, or not of the size that its
            header says; or they take more.
        OSError: it is missing or cannot be read.
    """
    most = half_the_memory() if most is None else most
    with opened(path) as file, _intact(), zipfile.ZipFile(file) as archive:
        members = _members(archive)
        chosen = [name for name in members if keys is None or name in keys]
        _check_total(sum(members[name].file_size for name in chosen), most)
        for name in chosen:
            with archive.open(members[name]) as content:
                _check_header(content, members[name].file_size, name)
        return {name: _read(archive.open(members[name])) for name in chosen}


def npz_keys(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an `.npz` file; raises as `read_npz`."""
    with opened(path) as file, _intact(), zipfile.ZipFile(file) as archive:
        return tuple(_members(archive))


def read_npy(path: Path, *, most: int | None = None) -> np.ndarray:
    """Read the array of an `.npy` file; arguments and errors as of `read_npz`."""
    with opened(path) as file, _intact():
        size = os.fstat(file.fileno()).st_size
        _check_total(size, half_the_memory() if most is None else most)
        _check_header(file, size, path.name)
        file.seek(0)
        return _read(file)


@contextmanager
def _intact() -> Iterator[None]:
    """Turn whatever numpy, zipfile and zlib make of a broken file into a ValueError."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except MemoryError:
        raise ValueError("takes more memory than there is") from None
    except Exception as error:
        raise ValueError(f"is broken or truncated ({reason_of(error)})") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(_SUFFIX)
        if name == member.filename or name in found:
            raise ValueError(f"{member.filename!r} is {'no array' if name == member.filename else 'there twice'}")
        if member.compress_type not in _STORED:
            raise ValueError(f"{member.filename!r} is compressed as numpy does not")
        found[name] = member
    return found


def _check_header(content: IO[bytes], size: int, name: str) -> None:
    """See that an array of `size` bytes, header included, is what its header says, before it is given memory."""
    from numpy.lib import format as npy

    readers: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(content)
    if version not in readers:
        raise ValueError(f"{name!r} is of version {version} of numpy's format, which is not read here")
    shape, _, kind = readers[version](content, max_header_size=_LONGEST_HEADER)
    if kind.hasobject:
        raise ValueError(f"Object arrays cannot be loaded, and {name!r} is one")
    if kind.kind not in _KINDS:
        raise ValueError(f"{name!r} holds {kind}, and not numbers or texts")
    if min(shape, default=0) < 0 or content.tell() + prod(shape) * kind.itemsize != size:
        raise ValueError(f"{name!r} is not of the size that its header says, {list(shape)} {kind}")


def _read(content: IO[bytes]) -> np.ndarray:
    from numpy.lib import format as npy

    with content:
        return npy.read_array(content, allow_pickle=False)


def _check_total(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"its arrays take {in_bytes(size)}, where {in_bytes(most)} are the most")
