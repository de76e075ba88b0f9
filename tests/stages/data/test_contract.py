"""What a user's function may return: anything wrong is one line that names the function and what is right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.data import DataConfig, Dataset, Generated, Split, divide, load_dataset

MODULE = "user_data_of_a_test"


@pytest.fixture
def returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Dataset]:
    """Load through a user's function that returns, or raises, the given thing."""
    (tmp_path / f"{MODULE}.py").write_text("answer = None\n\n\ndef load(config):\n    return answer(config)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = __import__(MODULE)

    def load(thing: object) -> Dataset:
        def answer(config: DataConfig) -> object:
            if isinstance(thing, BaseException):
                raise thing
            return thing

        module.answer = answer
        return load_dataset(DataConfig(dataset=f"{MODULE}:load"))

    return load


def spoilt(digits: Dataset, which: str, **arrays: Any) -> Dataset:
    return replace(digits, **{which: replace(getattr(digits, which), **arrays)})


def one_pixel(images: np.ndarray, value: float) -> np.ndarray:
    changed = images.copy()
    changed[3, 0, 2, 2] = value
    return changed


def test_a_good_one_passes_as_it_is(digits: Dataset, returned: Callable[[object], Dataset]):
    assert returned(digits) is digits


WRONG: dict[str, tuple[Callable[[Dataset], object], str]] = {
    "nothing": (lambda d: None, ": must return an edgeproof.stages.data.Dataset, returned a NoneType"),
    "arrays": (
        lambda d: (d.train.images, d.train.labels),
        ": must return an edgeproof.stages.data.Dataset, returned a tuple",
    ),
    "split as tuple": (
        lambda d: replace(d, test=(d.test.images, d.test.labels)),  # type: ignore[arg-type]
        ", test split: must be an edgeproof.stages.data.Split, is a tuple",
    ),
    "float64": (
        lambda d: spoilt(d, "train", images=d.train.images.astype(np.float64)),
        ", train split: images must be float32 [N, C, H, W], got float64 [1097, 1, 8, 8]",
    ),
    "uint8": (
        lambda d: spoilt(d, "test", images=(d.test.images * 255).astype(np.uint8)),
        ", test split: images must be float32 [N, C, H, W], got uint8 [500, 1, 8, 8]",
    ),
    "no channels": (
        lambda d: spoilt(d, "train", images=d.train.images[:, 0]),
        ", train split: images must be float32 [N, C, H, W], got float32 [1097, 8, 8]",
    ),
    "tensor": (
        lambda d: spoilt(d, "train", images=torch.from_numpy(d.train.images)),
        ", train split: images must be float32 [N, C, H, W], got a Tensor",
    ),
    "255": (
        lambda d: spoilt(d, "validation", images=d.validation.images * 255),
        ", validation split: images must lie in [0, 1], found 0 to 255",
    ),
    "negative": (
        lambda d: spoilt(d, "test", images=one_pixel(d.test.images, -0.5)),
        ", test split: images must lie in [0, 1], found -0.5 to 1",
    ),
    "NaN": (
        lambda d: spoilt(d, "train", images=one_pixel(d.train.images, np.nan)),
        ", train split: images must lie in [0, 1], found NaN",
    ),
    "a little too much": (
        lambda d: spoilt(d, "train", images=one_pixel(d.train.images, 1.00003)),
        ", train split: images must lie in [0, 1], found 0 to 1.00003",
    ),
    "a rounding too much": (
        lambda d: spoilt(d, "train", images=one_pixel(d.train.images, 1.000002)),
        ", train split: images must lie in [0, 1], found 0 to 1.000002",
    ),
    "infinite": (
        lambda d: spoilt(d, "train", images=one_pixel(d.train.images, np.inf)),
        ", train split: images must lie in [0, 1], found 0 to inf",
    ),
    "empty": (
        lambda d: replace(d, validation=d.validation.take(slice(0, 0))),
        ", validation split: images must be float32 [N, C, H, W] and not empty, got [0, 1, 8, 8]",
    ),
    "label too high": (
        lambda d: spoilt(d, "train", labels=d.train.labels + 5),
        ", train split: labels must lie in [0, 10), found ",
    ),
    "label negative": (
        lambda d: spoilt(d, "test", labels=d.test.labels - 1),
        ", test split: labels must lie in [0, 10), found -1",
    ),
    "int32 labels": (
        lambda d: spoilt(d, "test", labels=d.test.labels.astype(np.int32)),
        ", test split: labels must be int64 [N], got int32 [500]",
    ),
    "one-hot labels": (
        lambda d: spoilt(d, "test", labels=np.eye(10, dtype=np.int64)[d.test.labels]),
        ", test split: labels must be int64 [N], got int64 [500, 10]",
    ),
    "fewer labels": (
        lambda d: spoilt(d, "test", labels=d.test.labels[:499]),
        ", test split: 500 images have 499 labels; one each is needed",
    ),
    "more rows": (
        lambda d: spoilt(d, "train", index=np.arange(2000)),
        ", train split: 1097 images have 2000 index; one each is needed",
    ),
    "no index": (
        lambda d: spoilt(d, "train", index=None),
        ", train split: index must be int64 [N], got a NoneType",
    ),
    "index of zeros": (
        lambda d: spoilt(d, "train", index=np.zeros(1097, np.int64)),
        ", train split: index must give every sample a row of its own",
    ),
    "overlap": (
        lambda d: replace(d, validation=d.train.take(slice(0, 7))),
        ": train and validation share samples (7, such as index ",
    ),
    "channels differ": (
        lambda d: spoilt(d, "test", images=np.repeat(d.test.images, 3, 1)),
        ": images of all splits must have one shape, got [1, 8, 8] in train and [3, 8, 8] in test",
    ),
    "sizes differ": (
        lambda d: spoilt(d, "validation", images=d.validation.images[:, :, :7]),
        ": images of all splits must have one shape, got [1, 8, 8] in train and [1, 7, 8] in validation",
    ),
    "one class": (
        lambda d: replace(d, class_names=("all",)),
        ": class_names must be a tuple of two or more strings, got ('all',)",
    ),
    "numbers as names": (
        lambda d: replace(d, class_names=tuple(range(10))),  # type: ignore[arg-type]
        ": class_names must be a tuple of two or more strings, got (0, 1, 2",
    ),
    "a number of classes": (
        lambda d: replace(d, class_names=10),  # type: ignore[arg-type]
        ": class_names must be a tuple of two or more strings, got 10",
    ),
    "a name twice": (
        lambda d: replace(d, class_names=("cat",) * 10),
        ": class_names must differ, got ('cat', 'cat'",
    ),
    "generated floats": (
        lambda d: replace(d, generated=Generated(d.train.images, d.train.labels, 0.5)),  # type: ignore[arg-type]
        ", generated images: images must be uint8 [N, 1, 8, 8], got float32 [1097, 1, 8, 8]",
    ),
    "generated all": (
        lambda d: replace(d, generated=Generated(np.zeros((10, 1, 8, 8), np.uint8), np.arange(10), 1.0)),
        ", generated images: fraction must lie in (0, 1), got 1.0",
    ),
    "sources as text": (
        lambda d: replace(d, sources=("data.csv",)),  # type: ignore[arg-type]
        ": sources must be a tuple of paths, got ('data.csv',)",
    ),
    "an exception": (
        lambda d: ZeroDivisionError("division\n  by zero"),
        ": loading it raised ZeroDivisionError: division by zero",
    ),
    "an exception without words": (lambda d: AssertionError(), ": loading it raised AssertionError"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_one_is_told_in_one_line(digits: Dataset, returned: Callable[[object], Dataset], case: str):
    thing, words = WRONG[case]
    with pytest.raises(StageError) as caught:
        returned(thing(digits))
    message = str(caught.value)
    assert message.startswith(f"dataset '{MODULE}:load'{words}")
    assert "\n" not in message


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NHWC, turned": lambda images: np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "Fortran": np.asfortranarray,
    "BGR": lambda images: np.ascontiguousarray(images[:, ::-1])[:, ::-1],
    "upside down": lambda images: np.ascontiguousarray(images[:, :, ::-1])[:, :, ::-1],
    "one channel, backwards": lambda images: images[:, :1][:, ::-1],
    "every other": lambda images: np.repeat(images, 2, 3)[..., ::2],
    "read-only": lambda images: np.frombuffer(images.tobytes(), np.float32).reshape(images.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.filterwarnings("error")
def test_arrays_of_any_layout_are_what_torch_takes(
    digits: Dataset, returned: Callable[[object], Dataset], layout: str, divided: bool
):
    images = np.repeat(digits.train.images, 3, 1) * np.float32([[[[1]], [[0.5]], [[0.25]]]])
    turned, labels, index = LAYOUTS[layout](images), digits.train.labels[::-1], digits.train.index[::-1]
    if divided:
        found = returned(divide("mine", digits.class_names, turned, labels, DataConfig(dataset="digits")))
    else:
        parts = Split(turned, labels, index), Split(turned[:9], labels[:9], index[:9] + 5000)
        found = returned(Dataset("mine", digits.class_names, parts[0], parts[1], parts[1]))
    for split in (found.train, found.validation, found.test):
        assert torch.from_numpy(split.images).is_contiguous()
        torch.from_numpy(split.labels)
        rows = split.index if divided else np.arange(len(split))
        assert np.array_equal(split.images, images[rows][:, : split.images.shape[1]])
        assert np.array_equal(split.labels, labels[rows])


def test_what_a_rounding_leads_out_of_the_range_is_put_back(digits: Dataset, returned: Callable[[object], Dataset]):
    over = np.nextafter(np.float32(1), np.float32(2))
    images = np.where(digits.test.images == 1, over, np.where(digits.test.images == 0, -1e-7, digits.test.images))
    assert images.max() > 1
    found = returned(spoilt(digits, "test", images=images.astype(np.float32)))
    assert np.array_equal(found.test.images, digits.test.images)


def test_the_users_own_exception_is_kept_for_whoever_looks(returned: Callable[[object], Dataset]):
    mine = KeyError("pixels")
    with pytest.raises(StageError) as caught:
        returned(mine)
    assert caught.value.__cause__ is mine


def test_a_one_line_error_of_theirs_goes_through(returned: Callable[[object], Dataset]):
    with pytest.raises(UsageError, match=r"^no camera$"):
        returned(UsageError("no camera"))


def test_a_function_of_another_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "no_arguments_of_a_test.py").write_text("def load():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StageError, match=r"raised TypeError: load\(\) takes 0 positional arguments but 1 was given"):
        load_dataset(DataConfig(dataset="no_arguments_of_a_test:load"))


def test_train_and_test_may_count_their_rows_alike(digits: Dataset, returned: Callable[[object], Dataset]):
    test = Split(digits.test.images, digits.test.labels, digits.train.index[:500])
    assert returned(replace(digits, test=test)).test is test


def test_a_recipe_is_checked_without_torchvision():
    code = (
        "import sys; from edgeproof.stages.data import DataConfig\n"
        "for name in ('cifar10', 'imagefolder', 'svhn'): DataConfig(dataset=name)\n"
        "print([name for name in ('torch', 'torchvision', 'sklearn', 'PIL', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
