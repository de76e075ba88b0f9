"""Class folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError


@dataclass(frozen=True)
class ClassFolders:
    """The image files under `folder/<class>/`, in torchvision's order.

    Attributes:
        folder: the folder.
        class_names: the classes' folders, sorted.
        paths: every image file.
        labels: its class, int64 `[N]`.
    """

    folder: Path
    class_names: tuple[str, ...]
    paths: list[Path]
    labels: NDArray[np.int64]


def class_folders(folder: Path, suffixes: Sequence[str] | None = None) -> ClassFolders:
    """List a folder of classes; hidden folders are no classes.

    Args:
        folder: the folder.
        suffixes: of image files, with their dots; torchvision's where None.

    Raises:
        UsageError: there is no such folder, it holds fewer than two classes, or a class holds no image.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    extensions = tuple(suffixes or IMG_EXTENSIONS)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(names) < 2:
        held = f"only {names[0]!r}" if names else "none"
        raise UsageError(f"{folder}: one folder of images for each class is needed, and it holds {held}")
    labels = {name: label for label, name in enumerate(names)}
    found = make_dataset(str(folder), labels, extensions=extensions, allow_empty=True)
    empty = set(labels.values()) - {label for _, label in found}
    if empty:
        raise UsageError(f"{folder / names[min(empty)]}: holds no image ({', '.join(extensions)})")
    return ClassFolders(
        folder, names, [Path(path) for path, _ in found], np.array([label for _, label in found], np.int64)
    )


def check_count(name: str, folder: Path, found: int, published: int) -> None:
    """Refuse a folder that was unpacked in part.

    Raises:
        UsageError: it does not hold as many images as were published.
    """
    if found != published:
        raise UsageError(
            f"dataset {name!r}: {folder}: holds {found:,} images and not the published {published:,}; "
            f"delete it and unpack it again (for a selection of your own, use dataset imagefolder)"
        )
