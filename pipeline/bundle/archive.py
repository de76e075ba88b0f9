"""Bundle archive: folder, `.tar` or `.zip`, reproducible to the byte, read with care."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import UsageError, reason_of
from .contents import CONTENTS, check_paths

Sources = Mapping[str, bytes | Path]
ARCHIVES = (".tar", ".zip")
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".7z")
_ZIPPED = b"PK\3\4"
# The first day that a zip file can name.
_DAY = (1980, 1, 1, 0, 0, 0)
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


def write_bundle(sources: Sources, out: Path) -> None:
    """Write a bundle, whole or not at all; an earlier one in its place is replaced.

    Nothing is compressed: the images are already, and compressors differ from machine to machine.

    Args:
        sources: path in the bundle to its content, or to the file that has it.
        out: a folder, or a file named `.tar` or `.zip`.

    Raises:
        UsageError: something else stands there, or it cannot be written.
    """
    check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    try:
        made = partial / out.name
        {".tar": _write_tar, ".zip": _write_zip}.get(out.suffix, write_folder)(sources, made)
        if out.is_dir():
            out.rename(partial / "before")
        made.replace(out)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def opened(bundle: Path) -> Iterator[Path]:
    """The folder of a bundle; an archive is unpacked into a temporary one, which goes away.

    Raises:
        UsageError: it is missing, no archive, truncated, or has members that are no plain files inside it.
    """
    if bundle.is_dir():
        yield bundle
        return
    if not bundle.is_file():
        raise UsageError(f"{bundle}: no such bundle")
    with tempfile.TemporaryDirectory(prefix="edgeproof-bundle-") as folder:
        try:
            with bundle.open("rb") as file:
                # By how it begins: a tar of packs ends like a zip file, which they are.
                zipped = file.read(len(_ZIPPED)) == _ZIPPED
            (_unpack_zip if zipped else _unpack_tar)(bundle, Path(folder))
        except _BROKEN as error:
            raise UsageError(f"{bundle}: no archive of a bundle, or truncated ({reason_of(error)})") from None
        yield Path(folder)


def is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: a folder with a `bundle.json`, or an archive by its name."""
    return (path / CONTENTS).is_file() if path.is_dir() else path.suffix in (*ARCHIVES, *_COMPRESSED)


def check_place(out: Path) -> None:
    """Refuse a place where something stands that is no bundle.

    Raises:
        UsageError: says what stands there.
    """
    if out.suffix in _COMPRESSED:
        raise UsageError(f"--out {out}: bundles are folders, or archives that end in {' or '.join(ARCHIVES)}")
    if out.is_dir() and (out.suffix in ARCHIVES or (any(out.iterdir()) and not is_bundle(out))):
        raise UsageError(f"--out {out}: is a folder that holds no bundle; name another one")
    if out.is_file() and out.suffix not in ARCHIVES:
        raise UsageError(f"--out {out}: is a file; name a folder, or a file that ends in {' or '.join(ARCHIVES)}")


def write_folder(sources: Sources, out: Path) -> None:
    """Write a bundle into a folder that is not there yet."""
    out.mkdir()
    for name, source in sorted(sources.items()):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            path.write_bytes(source)
        else:
            shutil.copyfile(source, path)


def _write_tar(sources: Sources, out: Path) -> None:
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, source in sorted(sources.items()):
            member = tarfile.TarInfo(name)  # nobody's, and of no time
            member.size = len(source) if isinstance(source, bytes) else source.stat().st_size
            with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content:
                archive.addfile(member, content)


def _write_zip(sources: Sources, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(sources.items()):
            member = zipfile.ZipInfo(name, _DAY)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            with (
                io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content,
                archive.open(member, "w", force_zip64=True) as place,
            ):
                shutil.copyfileobj(content, place)


def _unpack_tar(bundle: Path, folder: Path) -> None:
    with tarfile.open(bundle) as archive:
        members = archive.getmembers()
        if any(not member.isfile() for member in members if not member.isdir()):
            odd = next(member for member in members if not member.isfile() and not member.isdir())
            raise UsageError(f"{bundle}: member {odd.name!r} is no plain file; a bundle has no links")
        files = [member for member in members if member.isfile()]
        for member in files:
            member.name = member.name.removeprefix("./")  # as the command tar writes them
        _check_members(bundle, [member.name for member in files])
        for member in files:
            content = archive.extractfile(member)
            assert content is not None, "a plain file has content"
            with content, _place(folder, member.name).open("wb") as place:
                shutil.copyfileobj(content, place)
            if os.path.getsize(folder / member.name) != member.size:
                raise EOFError(f"{member.name} ends early")


def _unpack_zip(bundle: Path, folder: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        files = [member for member in archive.infolist() if not member.is_dir()]
        _check_members(bundle, [member.filename for member in files])
        for member in files:
            kind = member.external_attr >> 28
            if kind not in (0, 0o10):  # what a zip file of Unix calls a link, a device, ...
                raise UsageError(f"{bundle}: member {member.filename!r} is no plain file; a bundle has no links")
            with archive.open(member) as content, _place(folder, member.filename).open("wb") as place:
                shutil.copyfileobj(content, place)


def _check_members(bundle: Path, names: list[str]) -> None:
    try:
        check_paths(names)
    except ValueError as error:
        raise UsageError(f"{bundle}: member {str(error)!r} leads out of the bundle, or is there twice") from None


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
