"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images, 28×28, 10 classes.

Sources: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998. H. Xiao, K. Rasul,
R. Vollgraf, "Fashion-MNIST", arXiv 1708.07747, 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....core.errors import UsageError
from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..idx import read_idx
from ..images import refuse_resize
from ..published import Published

if TYPE_CHECKING:
    from torchvision.datasets import MNIST


@datasets.register("mnist")
def mnist(config: DataConfig) -> Dataset:
    """Load MNIST from `ROOT/MNIST/raw`."""
    from torchvision.datasets import MNIST

    return _load(config, "mnist", MNIST, [str(digit) for digit in range(10)])


@datasets.register("fashion_mnist")
def fashion_mnist(config: DataConfig) -> Dataset:
    """Load Fashion-MNIST from `ROOT/FashionMNIST/raw`."""
    from torchvision.datasets import FashionMNIST

    return _load(config, "fashion_mnist", FashionMNIST, FashionMNIST.classes)


def _load(config: DataConfig, name: str, kind: type[MNIST], class_names: list[str]) -> Dataset:
    refuse_resize(config, 28, 28)
    raw = f"{kind.__name__}/raw"

    def parts(root: Path) -> dict[str, str | None]:
        return dict(_part(root, f"{raw}/{file}", md5) for file, md5 in kind.resources)

    files = Published(name, parts, lambda folder: kind(folder, download=True))
    with files.found(config) as found:
        paths = [found.folder / part for part in parts(found.folder)]
        train, test = (_read(images, labels) for images, labels in (paths[:2], paths[2:]))
    return divide(name, class_names, *train, config, test=test, sources=found.sources)


def _part(root: Path, path: str, md5: str) -> tuple[str, str | None]:
    """The .gz file, whose MD5 is published, or where it is gone the one that was unpacked from it.

    Unpacking is never needed: read-only copies are read as they are.
    """
    unpacked = path.removesuffix(".gz")
    if not (root / path).exists() and (root / unpacked).exists():
        return unpacked, None
    return path, md5


def _read(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        raise UsageError(f"{labels}: holds {len(classes)} labels for the {len(pixels)} images of {images.name}")
    return pixels[:, None], classes
