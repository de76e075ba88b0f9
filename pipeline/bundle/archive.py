"""Bundle archive: folder, `.tar` or `.zip`, reproducible to the byte, looked into before it is unpacked."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ...core.atomic_write import take_place
from ...core.errors import UsageError, reason_of
from ...core.reading.json_text import MOST
from ...core.writing.scratch import scratch_folder
from ..store.folder_guard import check_not_stood_in
from .contents import CONTENTS, SIGNATURE, Contents, check_paths, read_contents

Sources = Mapping[str, bytes | Path]
ARCHIVES = (".tar", ".zip")
# Archives that no bundle is.
_OTHERS = (".7z", ".bz2", ".cab", ".gz", ".jar", ".lz", ".lz4", ".lzma", ".rar", ".tbz2", ".tgz", ".txz", ".xz", ".zst")
_ZIPPED = b"PK\3\4"
_SQUEEZED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")  # gzip, bzip2, xz, zstd, 7z
# The first day that a zip file can name.
_DAY = (1980, 1, 1, 0, 0, 0)
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    MemoryError,  # a header that says how long it is
    OverflowError,
    RuntimeError,  # encrypted; or headers of headers of headers
)


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
    if out.is_dir():  # what a link leads to is replaced, not the link
        out = out.resolve()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent) as partial:
            made = partial / out.name
            {".tar": _write_tar, ".zip": _write_zip}.get(out.suffix, write_folder)(sources, made)
            take_place(made, out)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None


@contextmanager
def opened(bundle: Path) -> Iterator[Path]:
    """The folder of a bundle; an archive is unpacked into a temporary one, which goes away.

    Raises:
        UsageError: it is missing, no archive, truncated or compressed, or has members that are no plain files inside
            it or not what its `bundle.json` lists; nothing of those is unpacked.
    """
    if bundle.is_dir():
        yield bundle
        return
    if not bundle.is_file():
        raise UsageError(f"{bundle}: no such bundle")
    with scratch_folder() as folder:
        try:
            with bundle.open("rb") as file:
                begins = file.read(max(map(len, (_ZIPPED, *_SQUEEZED))))
            if begins.startswith(_SQUEEZED):
                raise _compressed(bundle)
            # Not by how it ends: a tar of packs ends like a zip file, which they are.
            (_unpack_zip if begins.startswith(_ZIPPED) else _unpack_tar)(bundle, folder)
        except _BROKEN as error:
            raise UsageError(f"{bundle}: no archive of a bundle, or truncated ({reason_of(error)})") from None
        yield folder


def is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: a folder with a `bundle.json`, or an archive by its name."""
    return (path / CONTENTS).is_file() if path.is_dir() else path.suffix in ARCHIVES or _is_another(path)


def check_place(out: Path) -> None:
    """Refuse a place where something stands that is no bundle.

    Raises:
        UsageError: says what stands there.
    """
    check_not_stood_in(out, "--out")
    if _is_another(out):
        raise UsageError(f"--out {out}: bundles are folders, or archives that end in {' or '.join(ARCHIVES)}")
    if out.is_dir() and (out.suffix in ARCHIVES or (any(out.iterdir()) and not is_bundle(out))):
        raise UsageError(f"--out {out}: is a folder that holds no bundle; name another one")
    if out.is_file() and out.suffix not in ARCHIVES:
        raise UsageError(f"--out {out}: is a file; name a folder, or a file that ends in {' or '.join(ARCHIVES)}")


def contents_at(place: Path) -> Contents | None:
    """What the bundle says that stands in a place which `check_place` allows; None where nothing does.

    Raises:
        UsageError: what is there is no bundle, or broken.
    """
    if not place.is_file() and not (place / CONTENTS).is_file():
        return None
    try:
        with opened(place) as folder:
            return read_contents(folder / CONTENTS)
    except UsageError:
        raise UsageError(f"--out {place}: holds no bundle; name another place, or replace it with --force") from None


def _is_another(path: Path) -> bool:
    """Whether a name is an archive's of another kind; `.ZIP` as well, which would be a folder."""
    return path.suffix.lower() in (*ARCHIVES, *_OTHERS) and path.suffix not in ARCHIVES


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
    with tarfile.open(bundle, "r:") as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        if odd := next((member for member in members if not member.isreg() or member.issparse()), None):
            raise UsageError(f"{bundle}: member {odd.name!r} is no plain file; a bundle has no links")
        for member in members:
            member.name = member.name.removeprefix("./")  # as the command tar writes them
        names = [(member.name, member.size) for member in members]
        _unpack(bundle, folder, names, lambda number: archive.extractfile(members[number]))


def _unpack_zip(bundle: Path, folder: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        if min((member.header_offset for member in archive.infolist()), default=0):
            raise EOFError("it ends like a file inside it")
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            kind = member.external_attr >> 28
            if kind not in (0, 0o10):  # what a zip file of Unix calls a link, a device, ...
                raise UsageError(f"{bundle}: member {member.filename!r} is no plain file; a bundle has no links")
            if member.compress_type != zipfile.ZIP_STORED:
                raise _compressed(bundle)
        names = [(member.filename, member.file_size) for member in members]
        _unpack(bundle, folder, names, lambda number: archive.open(members[number]))


def _compressed(bundle: Path) -> UsageError:
    return UsageError(f"{bundle}: is compressed, as no bundle is; unpack it and name the folder")


def _unpack(
    bundle: Path, folder: Path, members: list[tuple[str, int]], opened: Callable[[int], IO[bytes] | None]
) -> None:
    """Unpack what `bundle.json` lists, of the sizes that it lists, and nothing else.

    Args:
        bundle: the archive.
        folder: where to.
        members: the name and the size in bytes of each.
        opened: one of them by its number, to be read.
    """
    names = [name for name, _ in members]
    try:
        check_paths(names)
    except ValueError as error:
        raise UsageError(f"{bundle}: member {str(error)!r} leads out of the bundle, or is there twice") from None
    # Members may lie over one another.
    if sum(size for _, size in members) > bundle.stat().st_size:
        raise EOFError("its members are larger than itself")
    if CONTENTS in names:
        _write(folder, *members[names.index(CONTENTS)], opened(names.index(CONTENTS)), most=MOST)
    contents = read_contents(folder / CONTENTS, bundle / CONTENTS)
    listed = {file.path: file.size for file in contents.files}
    for name, size in members:
        if name not in listed and name not in (CONTENTS, SIGNATURE):
            raise UsageError(f"{bundle / name}: not listed in {CONTENTS}; a bundle holds nothing else")
        if listed.get(name, size) != size:
            raise UsageError(f"{bundle / name}: altered or truncated; {CONTENTS} lists another size")
    for number, (name, size) in enumerate(members):
        if name != CONTENTS:
            _write(folder, name, size, opened(number), most=MOST if name == SIGNATURE else size)


def _write(folder: Path, name: str, size: int, content: IO[bytes] | None, *, most: int) -> None:
    assert content is not None, "a plain file has content"
    if size > most:
        raise EOFError(f"{name} is too large")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as place:
        shutil.copyfileobj(content, place)
    if os.path.getsize(path) != size:
        raise EOFError(f"{name} ends early")
