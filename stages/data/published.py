"""Published data set files: found under the data root, or downloaded through torchvision."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ...core.errors import StageError, UsageError
from .base import DataConfig
from .root import ENVIRONMENT, data_root

_SILENCE_S = 30  # torchvision itself would wait for a silent server for ever


@dataclass(frozen=True)
class Found:
    """Where a data set's files are.

    Attributes:
        folder: what torchvision calls root.
        sources: what was read.
        stays: whether the folder is still there once the context of `Published.found` is left.
    """

    folder: Path
    sources: tuple[Path, ...]
    stays: bool = True


@dataclass(frozen=True)
class Published:
    """A published data set in torchvision's own layout.

    Attributes:
        name: the registered name.
        parts: given a root, the files and folders that loading needs, relative to it, with their MD5s where
            they are published.
        download: downloads and unpacks into a root, through torchvision, which checks the MD5s.
        archives: what `download` unpacks, relative to the root, with MD5s where known: one that lies there
            already is unpacked and not downloaded.
    """

    name: str
    parts: Callable[[Path], Mapping[str, str | None]]
    download: Callable[[Path], object]
    archives: Mapping[str, str | None] = field(default_factory=dict)

    @contextmanager
    def found(self, config: DataConfig) -> Iterator[Found]:
        """Give the folder that holds every part, for the time of the context.

        What is missing is unpacked or downloaded beside the root's other files and moved into place when
        whole, so that a broken download leaves nothing behind. A folder that nobody may write to is left
        alone: what has to be unpacked is unpacked elsewhere.

        Raises:
            UsageError: a file is corrupt, or the data root does not exist.
            StageError: the files are not there and cannot be downloaded.
        """
        root = self._root(data_root(config))
        missing = self._missing(root)
        if not missing:
            yield Found(root, tuple(root / part for part in self.parts(root)))
            return
        archives = [archive for archive in self.archives if (root / archive).is_file()]
        for archive in archives:
            self._check(root / archive, self.archives[archive])
        keep = _writable(root)
        if not keep and not archives:
            raise StageError(self._absent(missing[0], root, "and the folder is read-only, so nothing is downloaded"))
        if keep:
            root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=root if keep else None) as temporary:
            folder = Path(temporary)
            for archive in archives:
                (folder / archive).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / archive, folder / archive)
            self._download(folder, self._absent(missing[0], root, "and the download failed"))
            if not keep:
                yield Found(folder, tuple(root / archive for archive in archives), stays=False)
                return
            _move(folder, root)
        yield Found(root, tuple(root / part for part in self.parts(root)))

    def _root(self, root: Path) -> Path:
        """The root, or a folder in it that is named after the data set, whichever holds some of the files."""
        inner = [entry for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []
        named = sorted(entry for entry in inner if _plain(entry.name) == _plain(self.name))
        for folder in (root, *named):
            if any((folder / path).exists() for path in (*self.parts(folder), *self.archives)):
                return folder
        return root

    def _missing(self, root: Path) -> list[str]:
        missing: list[str] = []
        for part, md5 in self.parts(root).items():
            path = root / part
            if not path.exists():
                missing.append(part)
            elif md5 is not None:
                self._check(path, md5)
        return missing

    def _check(self, path: Path, md5: str | None) -> None:
        """Refuse a file that is not the published one; without an MD5, a .zip file that has no end."""
        if not (zipfile.is_zipfile(path) if md5 is None else _md5(path) == md5):
            raise UsageError(
                f"dataset {self.name!r}: {path}: is corrupt or half-written, not the published file; "
                f"delete it to have it downloaded again"
            )

    def _download(self, folder: Path, failed: str) -> None:
        # torchvision draws its own bars.
        quiet = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_SILENCE_S)
        try:
            with quiet:
                self.download(folder)
        except Exception as error:  # the net, the disk, the archive: all kinds
            raise StageError(f"{failed}: {' '.join(str(error).split()) or type(error).__name__}") from error
        finally:
            socket.setdefaulttimeout(patience)

    def _absent(self, part: str, root: Path, why: str) -> str:
        return (
            f"dataset {self.name!r}: {part} is not in {root} (name a folder that holds it "
            f"by --data-root or {ENVIRONMENT}), {why}"
        )


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    # The superuser may write anywhere; a folder without write permission is still meant to stay as it is.
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def _move(source: Path, target: Path) -> None:
    """Move what is in one folder into another, leaving alone what is there already."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        elif not place.exists():
            entry.rename(place)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
