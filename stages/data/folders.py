"""Class folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError

# Beside the folders of classes, or above those of train and test.
CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class ClassFolders:
    """The image files under `folder/<class>/`, in torchvision's order.

    Attributes:
        folder: the folder.
        class_names: the classes, sorted, or in the order of their list.
        paths: every image file.
        labels: its class, int64 `[N]`.
    """

    folder: Path
    class_names: tuple[str, ...]
    paths: list[Path]
    labels: NDArray[np.int64]


def class_folders(
    folder: Path, suffixes: Sequence[str] | None = None, listed: Sequence[str] | None = None
) -> ClassFolders:
    """List a folder of classes; hidden folders are no classes.

    Args:
        folder: the folder.
        suffixes: of image files, with their dots; torchvision's where None.
        listed: all classes in their order; some may have no folder here. Where None, the folders are all, sorted.

    Raises:
        UsageError: there is no such folder, it holds fewer than two classes, images that are in none, or a folder that
            is not listed, or a class holds no image.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    extensions = tuple(suffixes or IMG_EXTENSIONS)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    own = [entry.name for entry in entries if entry.is_dir()]
    if len(own) < (2 if listed is None else 1):
        held = f"only {own[0]!r}" if own else "none"
        raise UsageError(f"{folder}: one folder of images for each class is needed, and it holds {held}")
    loose = next((entry for entry in entries if entry.is_file() and entry.suffix.lower() in extensions), None)
    if loose is not None:
        raise UsageError(f"{loose}: lies beside the folders of the classes; put it into that of its class")
    names = tuple(listed or own)
    strange = sorted(set(own) - set(names))
    if strange:
        raise UsageError(f"{folder / strange[0]}: is a folder of no class that {CLASSES_FILE} lists, a name a line")
    labels = {name: label for label, name in enumerate(names) if name in own}
    found = make_dataset(str(folder), labels, extensions=extensions, allow_empty=True)
    empty = set(labels.values()) - {label for _, label in found}
    if empty:
        raise UsageError(f"{folder / names[min(empty)]}: holds no image ({', '.join(extensions)})")
    return ClassFolders(
        folder, names, [Path(path) for path, _ in found], np.array([label for _, label in found], np.int64)
    )


def listed_classes(folder: Path) -> tuple[str, ...] | None:
    """The class names in a folder's `classes.txt`, one a line in the order of their labels; None without the file.

    Raises:
        UsageError: it cannot be read as text, lists fewer than two, or one twice.
    """
    path = folder / CLASSES_FILE
    if not path.is_file():
        return None
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path}: cannot be read as text; it lists the classes' folders, a name a line") from None
    if len(names) < 2:
        raise UsageError(f"{path}: lists {len(names)} classes; two are needed, a name a line")
    twice = next((name for row, name in enumerate(names) if name in names[:row]), None)
    if twice is not None:
        raise UsageError(f"{path}: lists {twice!r} twice")
    return names


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
