"""Image files of any size as one array of one size, decoded when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from .base import DataConfig, Split

if TYPE_CHECKING:
    from PIL.Image import Image


def refuse_resize(config: DataConfig, height: int, width: int) -> None:
    """Refuse `image_size` and `grey` for a data set whose images have one published size.

    Raises:
        UsageError: the config gives another size, or asks for grey images.
    """
    if config.sides not in (None, (height, width)):
        raise UsageError(
            f"dataset {config.dataset!r}: data.image_size: its images are {height}×{width} and are not resized, "
            f"got {'×'.join(map(str, config.sides))}"
        )
    if config.grey:
        raise UsageError(f"dataset {config.dataset!r}: data.grey: is for image files; its images are taken as they are")


@dataclass(frozen=True)
class ImageFiles:
    """Image files that read like an array, float32 `[N, C, H, W]` in [0, 1]; only what is indexed is decoded.

    Attributes:
        paths: the files; at least one.
        sides: height and width to resize to (bilinear, as torchvision's `Resize` does with images); the images' own
            where None, which must then be the same for all.
        grey: whether they are read as grey (ITU-R 601-2 luma, as Pillow's `convert("L")`), and not as RGB.
    """

    paths: Sequence[Path]
    sides: tuple[int, int] | None = None
    grey: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H and W.

        Raises:
            UsageError: the sizes differ and none is given, or a file is no image; names the file.
        """
        channels = 1 if self.grey else 3
        if self.sides is not None:
            return len(self), channels, *self.sides
        first = _size(self.paths[0])
        for path in self.paths[1:]:
            if (size := _size(path)) != first:
                raise UsageError(
                    f"{path}: is {size[1]}×{size[0]} and {self.paths[0]} is {first[1]}×{first[0]} (width×height); "
                    "set data.image_size (or --image-size) to resize all"
                )
        return len(self), channels, *first

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Decode some.

        Raises:
            UsageError: a file is no 8-bit image or is cut off; names it.
        """
        chosen = self.at(rows)
        images = np.empty((len(chosen), *self.shape[1:]), np.float32)
        for image, path in zip(images, chosen.paths, strict=True):
            np.divide(self._read(path), np.float32(255), out=image)
        return images

    def at(self, rows: NDArray[np.int64] | slice) -> ImageFiles:
        """Some of the files, none decoded."""
        paths = [self.paths[row] for row in np.arange(len(self))[rows]]
        return ImageFiles(paths, self.shape[2:], self.grey)

    def split(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> Split:
        """Some of them as a split that reads like any other; its images are decoded where they are indexed."""
        images = self.at(rows)
        return Split(cast(NDArray[np.float32], images), labels[rows], np.asarray(rows, np.int64))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the bytes of all files, in order, and how they are read: no image is decoded for it."""
        digest = hashlib.sha256(repr((self.sides, self.grey)).encode())
        for path in self.paths:
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:
                raise UsageError(f"{path}: cannot be read as an image ({error.strerror})") from None
        return digest.hexdigest()

    def _read(self, path: Path) -> NDArray[np.uint8]:
        from PIL import Image

        with _Opened(path) as file:
            if file.mode in ("I", "F") or file.mode.startswith("I;"):
                raise UsageError(f"{path}: has more than 8 bits a pixel; convert it to an 8-bit image")
            # A palette whose entries are transparent in part is told off by Pillow when it loses that.
            image = file.convert("RGBA") if "transparency" in file.info else file
            image = image.convert("L" if self.grey else "RGB")
        height, width = self.shape[2:]
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


class _Opened:
    """An image file that Pillow reads; whatever it makes of a broken one is one line that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Image:
        from PIL import Image

        try:
            self._file = Image.open(self._path)
        except Exception as error:  # Pillow's readers raise almost anything at broken files
            raise self._told(error) from error
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            raise self._told(error) from error

    def _told(self, error: Exception) -> UsageError:
        reason = str(error).removesuffix(repr(str(self._path))).strip() or type(error).__name__
        return UsageError(f"{self._path}: cannot be read as an image ({reason})")


def _size(path: Path) -> tuple[int, int]:
    """Height and width, from the file's head."""
    with _Opened(path) as file:
        return file.height, file.width
