"""Data set contract, and the registry."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ...core.config import Config
from ...core.function import is_function
from ...core.registry import Registry

# What Gowal et al., NeurIPS 2021 and Wang et al., ICML 2023 train with on CIFAR-10 (their `unsup-fraction`).
EXTRA_FRACTION = 0.7
_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class Split:
    """One split: images float32 `[N, C, H, W]` in [0, 1], labels int64 `[N]`, and `index` `[N]`, each
    sample's row in the data set's own order (of its training or its test file, where it has two).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64] | slice) -> Split:
        """Return the given rows as a split of their own."""
        return Split(self.images[rows], self.labels[rows], self.index[rows])

    @property
    def decoded(self) -> Split:
        """The same with its images in memory, where they were files before."""
        return self if isinstance(self.images, np.ndarray) else self.take(slice(None))


@dataclass(frozen=True)
class Generated:
    """Generated images that are mixed into training only: uint8 `[N, C, H, W]`, labels int64 `[N]`, and the
    share of every training batch that is drawn from them, in (0, 1).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    fraction: float

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set in three disjoint splits; selection of any kind uses `validation`, never `test`.

    Where there are test images only, `train` and `validation` are empty, both: enough for `verify`, for nothing else.
    `generated` are further images to train on, if there are any. `sources` are the files and folders it was
    read from: a finished build looks there for changes, and they enter no digest. `files_digest`, where images are
    decoded from files, is a digest of these that stands for the pixels in the data set's own.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    generated: Generated | None = None
    sources: tuple[Path, ...] = ()
    files_digest: str | None = None

    @property
    def tests_only(self) -> bool:
        """Whether there is nothing to train on or to select by."""
        return all(isinstance(split, Split) and not len(split) for split in (self.train, self.validation))

    @property
    def decoded(self) -> Dataset:
        """The same with all images in memory, where they were files before."""
        train, validation, test = (split.decoded for split in (self.train, self.validation, self.test))
        same = train is self.train and validation is self.validation and test is self.test
        return self if same else replace(self, train=train, validation=validation, test=test)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every image, label and row number of the three splits, and over the generated images."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        if self.files_digest is not None:
            digest.update(f"files {self.files_digest}".encode())
        for split in (self.train, self.validation, self.test):
            pixels = [split.images] if self.files_digest is None else []
            for array in (*pixels, split.labels, split.index):
                digest.update(np.ascontiguousarray(array).data)
        if self.generated is not None:
            digest.update(f"generated {self.generated.fraction!r}".encode())
            digest.update(np.ascontiguousarray(self.generated.labels).data)
            for start in range(0, len(self.generated), _ROWS_AT_A_TIME):  # never a second copy of gigabytes
                digest.update(np.ascontiguousarray(self.generated.images[start : start + _ROWS_AT_A_TIME]).data)
        return digest.hexdigest()


Loader = Callable[["DataConfig"], Dataset]

datasets: Registry[Loader] = Registry("dataset", "edgeproof.stages.data.sets", "edgeproof.datasets", functions=True)

# Of data sets whose files may be test images alone: how they are then read as such, None where they are not.
test_readings: Registry[Callable[[DataConfig], DataConfig | None]] = Registry(
    "reading of test images", "edgeproof.stages.data.sets"
)


def _count_or_share(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value < (1 if isinstance(value, float) else math.inf):
        return value
    raise ValueError("must be a number of images (1, 2, ...) or a share between 0 and 1")


# What numpy writes into, and the name that such a file has.
ARRAYS = ".npz"
_SIDES = re.compile(r"([1-9]\d*)(?:\s*[x×]\s*([1-9]\d*))?")


def folder_or_file(dataset: str) -> tuple[str, Path] | None:
    """The data set that a path names, `npz` or `imagefolder`, and the path; None for a name or a function."""
    if is_function(dataset) or dataset in datasets.names():
        return None
    path = Path(os.path.expanduser(dataset))  # Path's own fails where there is no such user
    if dataset.lower().endswith(ARRAYS):
        return "npz", path
    return ("imagefolder", path) if os.sep in dataset or path.is_dir() else None


def _sides(value: Any) -> Any:
    """A side, or height and width: numbers, or as a command line has them."""
    if isinstance(value, str) and (match := _SIDES.fullmatch(value.strip())):
        value = [int(match[1]), int(match[2] or match[1])]
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
        return value[0] if value[0] == value[1] else tuple(value)
    raise ValueError("must be a number of pixels, or HEIGHTxWIDTH such as 48x64")


ImageSize = Annotated[
    int | tuple[int, int],
    BeforeValidator(_sides),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^[1-9]\d*([x×][1-9]\d*)?$"},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]


class DataConfig(Config):
    """Which data set, where it lies, and how what is not test data becomes train and validation.

    Attributes:
        dataset: a registered name; or a folder of images (`imagefolder`) or an .npz file (`npz`) by its path; or
            `package.module:function`, which is called with this config and returns a `Dataset`.
        seed: divides what is not test data into train and validation; the test split never depends on it.
        root: the folder of local copies, in torchvision's layout (npz: the file); $EDGEPROOF_DATA, then
            `~/.cache/edgeproof/data`, where left out. Where the files lie changes no digest.
        validation: held-out training images, as a number or a share; a tenth, at most 5,000, where left out
            (digits: 200).
        train: train on only so many of the other training images, drawn by class; all where left out.
        image_size: height and width to resize to, one number or `48x64`, which is 48 high (gtsrb: 32, eurosat: 64;
            imagefolder: the images' own, which must then be one size).
        grey: read image files as grey, for models of one channel.
        extra: an .npz file of generated training images: `image` uint8 [N, H, W, C], `label` [N].
        extra_fraction: the share of every training batch that is drawn from `extra`.
    """

    dataset: Annotated[str, AfterValidator(datasets.check)]
    seed: int = Field(default=0, ge=0, lt=2**32)
    root: Path | None = None
    validation: (
        Annotated[Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)], BeforeValidator(_count_or_share)]
        | None
    ) = None
    train: int | None = Field(default=None, ge=1)
    image_size: ImageSize | None = None
    grey: bool = False
    extra: Path | None = None
    extra_fraction: float = Field(default=EXTRA_FRACTION, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _named_by_its_path(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("dataset"), str | Path):
            return values
        named = folder_or_file(str(values["dataset"]))
        if named is None:
            try:
                datasets.check(str(values["dataset"]))
            except ValueError as error:
                own = is_function(str(values["dataset"]))
                hint = "" if own else "; nor is a folder or an .npz file of that name here"
                raise ValueError(f"dataset: {error}{hint}") from None
            return values
        dataset, root = named
        if values.get("root") is not None:
            raise ValueError(f"root: dataset {str(values['dataset'])!r} says where it lies; leave root out")
        return {**values, "dataset": dataset, "root": root}

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of `image_size`."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @model_validator(mode="after")
    def _fraction_of_something(self) -> DataConfig:
        if self.extra is None and self.extra_fraction != EXTRA_FRACTION:
            raise ValueError("extra_fraction: says how much of `extra` to mix in, and there is no extra")
        return self
