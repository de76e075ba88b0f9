"""Tiny data sets, written by hand in the formats in which the real ones are published.

Every image is filled with its row number, and its last column says train or test, so that a sample tells where
it comes from.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets as torchvision

TRAIN, TEST = 60, 20


@dataclass(frozen=True)
class Original:
    """What was written: labels by row, and how images are coded."""

    name: str
    labels: NDArray[np.int64]
    test_labels: NDArray[np.int64] | None  # None where the set has no test split of its own
    size: int

    def is_row(self, image: NDArray[np.float32], row: int, test: bool = False) -> bool:
        """Whether an image is the one of a row, of the test file where there is one."""
        body = np.full(image.shape, row, np.float32)
        body[..., -1] = 255 if test else 0
        return np.array_equal(np.round(image * 255), body)


def pixels(count: int, channels: int, size: int, *, test: bool = False) -> NDArray[np.uint8]:
    """Images `[N, C, H, W]`, coded as said above."""
    images = np.empty((count, channels, size, size), np.uint8)
    images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[..., -1] = 255 if test else 0
    return images


def labels_of(count: int, classes: int) -> NDArray[np.int64]:
    return (np.arange(count) * 7 % classes).astype(np.int64)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(array: NDArray[np.uint8]) -> bytes:
    """The IDX format, as its authors describe it."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def _mnist(kind: type[torchvision.MNIST], name: str) -> Callable[..., Original]:
    def write(root: Path, monkeypatch: pytest.MonkeyPatch, *, zipped: bool = True) -> Original:
        raw = root / kind.__name__ / "raw"
        raw.mkdir(parents=True)
        resources: list[tuple[str, str]] = []
        for prefix, count in (("train", TRAIN), ("t10k", TEST)):
            images = pixels(count, 1, 28, test=prefix == "t10k")[:, 0]
            labels = labels_of(count, 10).astype(np.uint8)
            for file, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
                path = raw / f"{file}.gz"
                path.write_bytes(gzip.compress(idx(array)))
                resources.append((path.name, md5(path)))
                if not zipped:
                    path.unlink()
                    (raw / file).write_bytes(idx(array))
        monkeypatch.setattr(kind, "resources", resources)
        return Original(name, labels_of(TRAIN, 10), labels_of(TEST, 10), 28)

    return write


def _cifar(kind: type[torchvision.CIFAR10], name: str, key: str) -> Callable[..., Original]:
    classes = 10

    def write(root: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
        folder = root / kind.base_folder
        folder.mkdir(parents=True)
        lists = {"train_list": kind.train_list, "test_list": kind.test_list}
        for which, files in lists.items():
            total = TRAIN if which == "train_list" else TEST
            images, labels = pixels(total, 3, 32, test=which == "test_list"), labels_of(total, classes)
            written: list[list[str]] = []
            for rows, (file, _) in zip(np.array_split(np.arange(total), len(files)), files, strict=True):
                entry = {"data": images[rows].reshape(len(rows), -1), key: labels[rows].tolist()}
                (folder / file).write_bytes(pickle.dumps(entry))
                written.append([file, md5(folder / file)])
            monkeypatch.setattr(kind, which, written)
        meta = folder / kind.meta["filename"]
        meta.write_bytes(pickle.dumps({kind.meta["key"]: [f"class {number}" for number in range(classes)]}))
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(meta)})
        return Original(name, labels_of(TRAIN, classes), labels_of(TEST, classes), 32)

    return write


def _svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    from scipy.io import savemat

    root.mkdir(exist_ok=True)
    listed = dict(torchvision.SVHN.split_list)
    for split, count in (("train", TRAIN), ("test", TEST)):
        url, file, _ = listed[split]
        labels = labels_of(count, 10)
        savemat(  # as published: [H, W, C, N], and the digit 0 has the label 10
            root / file,
            {
                "X": pixels(count, 3, 32, test=split == "test").transpose(2, 3, 1, 0),
                "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None],
            },
        )
        listed[split] = [url, file, md5(root / file)]
    monkeypatch.setattr(torchvision.SVHN, "split_list", listed)
    return Original("svhn", labels_of(TRAIN, 10), labels_of(TEST, 10), 32)


def _gtsrb(root: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """Two images a class, sorted by class as the folders are."""
    from edgeproof.stages.data.sets import gtsrb

    train = root / "gtsrb" / "GTSRB" / "Training"
    labels = np.repeat(np.arange(43), 3)
    for row, (label, image) in enumerate(zip(labels, pixels(len(labels), 3, 32), strict=True)):
        save(image, train / f"{label:05}" / f"00000_{row:05}.ppm")
    test = root / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for row, image in enumerate(pixels(TEST, 3, 32, test=True)):
        save(image, test / f"{row:05}.ppm")
        lines.append(f"{row:05}.ppm;32;32;5;6;48;49;{labels_of(TEST, 43)[row]}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(gtsrb, "PUBLISHED", {"train": len(labels), "test": TEST})
    return Original("gtsrb", labels, labels_of(TEST, 43), 32)


def _eurosat(root: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    from edgeproof.stages.data.sets import eurosat

    labels = np.repeat(np.arange(10), 6)
    for row, (label, image) in enumerate(zip(labels, pixels(TRAIN, 3, 64), strict=True)):
        save(image, root / "eurosat" / "2750" / f"class {label}" / f"image_{row:02}.png")
    monkeypatch.setattr(eurosat, "PUBLISHED", TRAIN)
    return Original("eurosat", labels, None, 64)


def _imagefolder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    labels = np.repeat(np.arange(3), 20)
    for row, (label, image) in enumerate(zip(labels, pixels(TRAIN, 3, 12), strict=True)):
        save(image, root / "train" / "abc"[label] / f"{row:02}.png")
    test_labels = np.repeat(np.arange(3), 4)
    for row, (label, image) in enumerate(zip(test_labels, pixels(12, 3, 12, test=True), strict=True)):
        save(image, root / "test" / "abc"[label] / f"{row:02}.png")
    return Original("imagefolder", labels, test_labels, 12)


def save(image: NDArray[np.uint8], path: Path) -> None:
    """Write one image `[3, H, W]` in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path)


def pack_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Turn a written CIFAR-10 into the archive as which it is published."""
    kind = torchvision.CIFAR10
    archive = root / kind.filename
    with tarfile.open(archive, "w:gz") as file:
        file.add(root / kind.base_folder, kind.base_folder)
    monkeypatch.setattr(kind, "tgz_md5", md5(archive))
    for part in (root / kind.base_folder).iterdir():
        part.unlink()
    (root / kind.base_folder).rmdir()
    return archive


def pack_zip(folder: Path, archive: Path) -> None:
    """Zip a folder, its own name included."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))


WRITERS: dict[str, Callable[..., Original]] = {
    "mnist": _mnist(torchvision.MNIST, "mnist"),
    "fashion_mnist": _mnist(torchvision.FashionMNIST, "fashion_mnist"),
    "cifar10": _cifar(torchvision.CIFAR10, "cifar10", "labels"),
    "cifar100": _cifar(torchvision.CIFAR100, "cifar100", "fine_labels"),
    "svhn": _svhn,
    "gtsrb": _gtsrb,
    "eurosat": _eurosat,
    "imagefolder": _imagefolder,
}
