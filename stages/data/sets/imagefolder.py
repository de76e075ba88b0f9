"""Images of one's own, one folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from pathlib import Path

from ....core.errors import UsageError
from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..folders import ClassFolders, class_folders
from ..images import read_images
from ..root import ENVIRONMENT, given_root


@datasets.register("imagefolder")
def imagefolder(config: DataConfig) -> Dataset:
    """Load `ROOT/train/<class>/*` with `ROOT/test/<class>/*` (or `ROOT/val`), or else `ROOT/<class>/*`, as RGB.

    Without a test folder the test split is a fifth, drawn by class, always the same. Where both test and val
    exist, val is not used: validation comes out of train.

    Raises:
        UsageError: a folder or class is empty, an image is broken, or sizes differ and `image_size` is not
            given; names it.
    """
    root = given_root(config)
    if root is None:
        raise UsageError(f"dataset 'imagefolder': name its folder by --data-root, data.root or {ENVIRONMENT}")
    train_folder = root / "train"
    if not train_folder.is_dir():
        whole = class_folders(root)
        images = read_images(whole.paths, config.image_size)
        return divide("imagefolder", whole.class_names, images, whole.labels, config, sources=(root,))
    train = class_folders(train_folder)
    test = class_folders(_test_folder(root))
    _check_same_classes(train, test)
    both = read_images([*train.paths, *test.paths], config.image_size)
    images, test_images = both[: len(train.paths)], both[len(train.paths) :]
    return divide(
        "imagefolder",
        train.class_names,
        images,
        train.labels,
        config,
        test=(test_images, test.labels),
        sources=(train.folder, test.folder),
    )


def _test_folder(root: Path) -> Path:
    for name in ("test", "val"):
        if (root / name).is_dir():
            return root / name
    raise UsageError(f"{root}: has a folder train, but none named test or val beside it")


def _check_same_classes(train: ClassFolders, test: ClassFolders) -> None:
    for here, there in ((train, test), (test, train)):
        lacking = sorted(set(there.class_names) - set(here.class_names))
        if lacking:
            raise UsageError(f"{here.folder}: has no class {lacking[0]!r}, which {there.folder} has")
