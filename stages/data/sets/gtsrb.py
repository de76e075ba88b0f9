"""German Traffic Sign Recognition Benchmark: 26,640 + 12,630 colour images, 15 to 250 pixels wide, 43 classes.

Source: J. Stallkamp et al., "Man vs. computer", Neural Networks 32, 2012.

Training images are frames of tracks, thirty of one sign, and validation is drawn by class and not by track: its
accuracy is therefore higher than the test split's.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ....core.errors import UsageError
from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..folders import check_count, class_folders
from ..images import ImageFiles
from ..published import Published

IMAGE_SIZE = 32
CLASSES = 43
PUBLISHED = {"train": 26640, "test": 12630}

_TRAIN = "gtsrb/GTSRB/Training"
_TEST = "gtsrb/GTSRB/Final_Test/Images"
_TEST_LABELS = "gtsrb/GT-final_test.csv"
_ARCHIVES = ("GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip")


@datasets.register("gtsrb")
def gtsrb(config: DataConfig) -> Dataset:
    """Load GTSRB from `ROOT/gtsrb`, resized to `image_size` (32); class names are the set's numbers, 0 to 42."""
    from torchvision.datasets import GTSRB

    def download(folder: Path) -> None:
        for kind in ("train", "test"):
            GTSRB(folder, kind, download=True)

    files = Published(
        "gtsrb",
        lambda root: dict.fromkeys((_TRAIN, _TEST, _TEST_LABELS)),
        download,
        {f"gtsrb/{archive}": None for archive in _ARCHIVES},
    )
    sides = config.sides or (IMAGE_SIZE, IMAGE_SIZE)
    with files.found(config) as found:
        train = class_folders(found.folder / _TRAIN, (".ppm",))
        check_count("gtsrb", train.folder, len(train.paths), PUBLISHED["train"])
        paths, labels = _test_files(found.folder / _TEST_LABELS, found.folder / _TEST)
        check_count("gtsrb", found.folder / _TEST, len(paths), PUBLISHED["test"])
        images, test_images = (ImageFiles(listed, sides, config.grey) for listed in (train.paths, paths))
        names = [str(number) for number in range(CLASSES)]
        test = (test_images, labels)
        dataset = divide("gtsrb", names, images, train.labels, config, test=test, sources=found.sources)
        return dataset if found.stays else dataset.decoded


def _test_files(table: Path, folder: Path) -> tuple[list[Path], list[int]]:
    try:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return [folder / row["Filename"] for row in rows], [int(row["ClassId"]) for row in rows]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"{table}: is no table of Filename and ClassId ({error!r})") from error
