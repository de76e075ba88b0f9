"""Folders of the user's own images, and everything that can be wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import resize, to_tensor

from tests.stages.data.synthetic import WRITERS


def load(root: Path | None, **keys: object) -> Dataset:
    return load_dataset(DataConfig.model_validate({"dataset": "imagefolder", "root": root, **keys}))


def refused(root: Path | None, **keys: object) -> str:
    with pytest.raises(UsageError) as caught:
        load(root, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    WRITERS["imagefolder"](tmp_path / "data", monkeypatch)
    return tmp_path / "data"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Noise of many sizes and modes, in nested folders."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number, (mode, channels) in enumerate([("RGB", 3), ("L", 0), ("RGBA", 4), ("RGB", 3), ("RGB", 3)] * 2):
            size = (20 + number, 31 - number, channels)[: 3 if channels else 2]
            path = tmp_path / label / ("more" if number > 6 else ".") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, size, np.uint8), mode).save(path)
    return tmp_path


def test_a_flat_folder_gets_a_test_split_that_never_moves(root: Path):
    one, other = load(root / "train"), load(root / "train", seed=1)
    assert np.bincount(one.test.labels).tolist() == [4, 4, 4]
    assert np.array_equal(one.test.index, other.test.index)
    assert set(one.validation.index) != set(other.validation.index)


def test_val_is_the_test_split_where_there_is_no_test(root: Path):
    expected = load(root).digest
    (root / "test").rename(root / "val")
    assert load(root).digest == expected


def test_val_is_not_used_beside_test(root: Path):
    expected = load(root).digest
    shutil.copytree(root / "train", root / "val")
    assert load(root).digest == expected


def test_images_are_what_torchvision_makes_of_them(photos: Path):
    data = load(photos, image_size=24)
    theirs = ImageFolder(str(photos))
    for split in (data.train, data.validation, data.test):
        for image, label, row in zip(split.images, split.labels, split.index, strict=True):
            picture, number = theirs[row]
            assert label == number
            assert np.array_equal(image, to_tensor(resize(picture, [24, 24])).numpy())
    assert data.class_names == tuple(theirs.classes)


def test_sizes_that_differ(photos: Path):
    assert refused(photos) == (
        f"{photos}/cat/1.png: is 30×21 and {photos}/cat/0.png is 31×20; "
        "set data.image_size (or --image-size) to resize all"
    )


def test_sizes_that_differ_between_train_and_test(root: Path):
    Image.new("RGB", (9, 12)).save(root / "test" / "c" / "00.png")
    assert f"{root}/test/c/00.png: is 9×12 and {root}/train/a/00.png is 12×12" in refused(root)


def test_a_hidden_folder_is_no_class(root: Path):
    expected = load(root).digest
    (root / "train" / ".thumbnails").mkdir()
    assert load(root).digest == expected


def test_no_root():
    assert refused(None) == "dataset 'imagefolder': name its folder by --data-root, data.root or EDGEPROOF_DATA"


def test_an_empty_folder(tmp_path: Path):
    needed = "one folder of images for each class is needed, and it holds"
    assert refused(tmp_path) == f"{tmp_path}: {needed} none"
    (tmp_path / "cat").mkdir()
    assert refused(tmp_path) == f"{tmp_path}: {needed} only 'cat'"


def test_an_empty_class(root: Path):
    shutil.rmtree(root / "train" / "b")
    (root / "train" / "b").mkdir()
    (root / "train" / "b" / "notes.txt").write_text("none yet")
    assert refused(root).startswith(f"{root}/train/b: holds no image (.jpg, .jpeg, .png")


def test_train_without_test(root: Path):
    shutil.rmtree(root / "test")
    assert refused(root) == f"{root}: has a folder train, but none named test or val beside it"


def test_classes_that_differ(root: Path):
    (root / "test" / "c").rename(root / "test" / "d")
    assert refused(root) == f"{root}/train: has no class 'd', which {root}/test has"
    shutil.rmtree(root / "test" / "d")
    assert refused(root) == f"{root}/test: has no class 'c', which {root}/train has"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda whole: whole[:60], "cannot be read as an image ("),
        (lambda whole: b"", "cannot be read as an image (cannot identify image file)"),
        (lambda whole: b"GIF87a", "cannot be read as an image ("),
    ],
)
def test_a_broken_image_is_named(root: Path, content, words: str):
    path = root / "train" / "b" / "33.png"
    whole = path.read_bytes()
    assert len(whole) > 60
    path.write_bytes(content(whole))
    assert refused(root).startswith(f"{path}: {words}")


def test_more_than_8_bits(root: Path):
    path = root / "train" / "a" / "05.png"
    Image.fromarray(np.full((12, 12), 40_000, np.uint16)).save(path)
    assert refused(root) == f"{path}: has more than 8 bits a pixel; convert it to an 8-bit image"


def test_a_class_of_one_image(root: Path):
    for path in sorted((root / "train" / "a").iterdir())[1:]:
        path.unlink()
    assert "class 'a' has a single image left to divide; two are needed" in refused(root)
