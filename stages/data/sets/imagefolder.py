"""Images of one's own, one folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....core.errors import UsageError
from ..base import DataConfig, Dataset, datasets, test_readings
from ..divide import divide
from ..folders import ClassFolders, class_folders, listed_classes
from ..images import ImageFiles
from ..root import ENVIRONMENT, given_root

TRAIN, TESTS = "train", ("test", "val")


@datasets.register("imagefolder")
def imagefolder(config: DataConfig) -> Dataset:
    """Load `ROOT/train/<class>/*` with `ROOT/test/<class>/*` (or `ROOT/val`), or else `ROOT/<class>/*`, as RGB or grey.

    Without a test folder the test split is a fifth, drawn by class, always the same; without a train folder beside it
    there is nothing to train on. Where both test and val exist, val is not used: validation comes out of train.
    `ROOT/classes.txt`, a name a line, says the order of the classes, which is that of the folders' names without it.

    Raises:
        UsageError: a folder or class is empty, an image lies outside of them or is broken, or sizes differ and
            `image_size` is not given; names it.
    """
    root = _root(config)
    listed = listed_classes(root)
    train_folder, test_folder = root / TRAIN, _test_folder(root)
    if not train_folder.is_dir():
        if test_folder is not None:
            return _tests_only("imagefolder", class_folders(test_folder, listed=listed), config)
        whole = class_folders(root, listed=listed)
        images = ImageFiles(whole.paths, config.sides, config.grey)
        return divide("imagefolder", whole.class_names, images, whole.labels, config, sources=(root,))
    if test_folder is None:
        raise UsageError(f"{root}: has a folder train, but none named test or val beside it")
    train, test = (class_folders(folder, listed=listed) for folder in (train_folder, test_folder))
    _check_same_classes(train, test)
    both = ImageFiles([*train.paths, *test.paths], config.sides, config.grey)
    images, test_images = both.at(slice(len(train.paths))), both.at(slice(len(train.paths), None))
    return divide(
        "imagefolder",
        train.class_names,
        images,
        train.labels,
        config,
        test=(test_images, test.labels),
        sources=(train.folder, test.folder),
    )


@datasets.register("testfolder")
def testfolder(config: DataConfig) -> Dataset:
    """Load `ROOT/test/<class>/*` (or `ROOT/val`), or else `ROOT/<class>/*`: all of them test images, none to train on.

    Otherwise as imagefolder.

    Raises:
        UsageError: as of imagefolder.
    """
    root = _root(config)
    return _tests_only("testfolder", class_folders(_test_folder(root) or root, listed=listed_classes(root)), config)


@test_readings.register("imagefolder")
def as_testfolder(config: DataConfig) -> DataConfig | None:
    """The folder as testfolder reads it, where it has no folder train."""
    root = given_root(config)
    if root is None or not root.is_dir() or (root / TRAIN).is_dir():
        return None
    return config.model_copy(update={"dataset": "testfolder"})


def _root(config: DataConfig) -> Path:
    root = given_root(config)
    if root is None:
        raise UsageError(f"dataset {config.dataset!r}: name its folder by --data-root, data.root or {ENVIRONMENT}")
    return root


def _test_folder(root: Path) -> Path | None:
    """The folder of the test images; None where there is none, or only a class that is called so.

    Raises:
        UsageError: it lies among folders of classes.
    """
    found = next((root / name for name in TESTS if _holds_folders(root / name)), None)
    if found is None or (root / TRAIN).is_dir():
        return found
    others = sorted(each.name for each in root.iterdir() if each.name not in TESTS and _holds_images(each))
    if others:
        raise UsageError(f"{root}: holds folders of classes ({others[0]}) beside {found.name}; name one of the two")
    return found


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and any(each.is_dir() and not each.name.startswith(".") for each in folder.iterdir())


def _holds_images(folder: Path) -> bool:
    from torchvision.datasets.folder import is_image_file

    return folder.is_dir() and any(is_image_file(each.name) for each in folder.iterdir())


def _tests_only(name: str, found: ClassFolders, config: DataConfig) -> Dataset:
    images = ImageFiles(found.paths, config.sides, config.grey)
    test = images.split(found.labels, np.arange(len(images)))
    nothing = test.take(slice(0, 0))
    return Dataset(name, found.class_names, nothing, nothing, test, sources=(found.folder,), files_digest=images.digest)


def _check_same_classes(train: ClassFolders, test: ClassFolders) -> None:
    for here, there in ((train, test), (test, train)):
        lacking = sorted(_present(there) - _present(here))
        if lacking:
            raise UsageError(f"{here.folder}: has no class {lacking[0]!r}, which {there.folder} has")


def _present(found: ClassFolders) -> set[str]:
    return {found.class_names[label] for label in np.unique(found.labels)}
