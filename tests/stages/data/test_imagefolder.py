"""Folders of the user's own images, and everything that can be wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from PIL import Image
from pydantic import ValidationError
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import resize, to_tensor

from tests.stages.data.synthetic import WRITERS


def load(root: Path | None, *, tests_only: bool = False, **keys: object) -> Dataset:
    config = DataConfig.model_validate({"dataset": "imagefolder", "root": root, **keys})
    return load_dataset(config, tests_only=tests_only)


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
        f"{photos}/cat/1.png: is 30×21 and {photos}/cat/0.png is 31×20 (width×height); "
        "set data.image_size (or --image-size) to resize all"
    )


def test_sizes_that_differ_between_train_and_test(root: Path):
    Image.new("RGB", (9, 12)).save(root / "test" / "c" / "00.png")
    assert f"{root}/test/c/00.png: is 9×12 and {root}/train/a/00.png is 12×12" in refused(root)


def test_a_hidden_folder_is_no_class(root: Path):
    expected = load(root).digest
    (root / "train" / ".thumbnails").mkdir()
    assert load(root).digest == expected


def test_a_size_that_is_no_square(photos: Path):
    data = load(photos, image_size="24x40")
    theirs = ImageFolder(str(photos))
    assert data.image_shape == (3, 24, 40)
    for image, row in zip(data.test.images, data.test.index, strict=True):
        assert np.array_equal(image, to_tensor(resize(theirs[row][0], [24, 40])).numpy())


def test_grey_is_what_pillow_makes_of_colours(photos: Path):
    data = load(photos, image_size=[24, 40], grey=True)
    theirs = ImageFolder(str(photos))
    assert data.image_shape == (1, 24, 40)
    for image, row in zip(data.test.images, data.test.index, strict=True):
        grey = Image.open(theirs.imgs[row][0]).convert("L")
        assert np.array_equal(image, to_tensor(resize(grey, [24, 40])).numpy())


def test_only_what_is_taken_is_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch):
    whole = load(photos, image_size=24)
    opened: list[str] = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: opened.append(mode) or convert(image, mode))
    found = load(photos, image_size=24, tests_only=True)
    assert (found.image_shape, len(found.train), opened) == ((3, 24, 24), len(whole.train), [])
    assert found.digest == whole.digest
    rows = np.array([2, 0])
    assert np.array_equal(found.test.take(rows).images, whole.test.images[rows])
    assert opened == ["RGB"] * 2


def test_the_digest_is_of_what_the_files_hold_and_how_they_are_read(root: Path):
    expected = load(root).digest
    assert len({expected, load(root, grey=True).digest, load(root, image_size=9).digest}) == 3
    Image.new("RGB", (12, 12), (1, 2, 3)).save(root / "test" / "c" / "00.png")
    assert load(root).digest != expected


def test_a_folder_of_test_images_alone(root: Path):
    expected = load(root)
    shutil.rmtree(root / "train")
    for given in (load(root, tests_only=True), load(root / "test", dataset="testfolder", tests_only=True)):
        assert given.tests_only
        assert np.array_equal(given.test.decoded.images, expected.test.images)
        assert np.array_equal(given.test.labels, expected.test.labels)
    assert "has test images only; there is nothing to train on" in refused(root)
    shutil.copytree(root / "test" / "a", root / "cat")
    assert refused(root) == f"{root}: holds folders of classes (cat) beside test; name one of the two"


def test_one_folder_of_classes_is_all_test_images_where_that_is_asked_for(root: Path):
    found = load(root / "train", dataset="testfolder", tests_only=True)
    expected = ImageFolder(str(root / "train"))
    assert found.test.labels.tolist() == expected.targets
    assert np.array_equal(found.test.images[7:8][0], to_tensor(expected[7][0]).numpy())


def test_a_list_of_classes_says_their_order(root: Path):
    plain = load(root)
    (root / "classes.txt").write_text("c\nnone\na\nb\n")
    found = load(root)
    assert found.class_names == ("c", "none", "a", "b")
    assert found.test.labels.tolist() == np.array([2, 3, 0])[plain.test.labels].tolist()
    (root / "classes.txt").write_text("c\na\n")
    assert refused(root) == f"{root}/train/b: is a folder of no class that classes.txt lists, a name a line"
    (root / "classes.txt").write_text("c\na\nb\na")
    assert refused(root) == f"{root}/classes.txt: lists 'a' twice"


def test_an_image_beside_the_folders(root: Path):
    (root / "train" / "b" / "33.png").rename(root / "train" / "33.png")
    expected = f"{root}/train/33.png: lies beside the folders of the classes; put it into that of its class"
    assert refused(root) == expected


def test_a_palette_with_transparency_is_read_without_a_word(root: Path, recwarn: pytest.WarningsRecorder):
    path = sorted((root / "train" / "a").iterdir())[1]
    expected = np.asarray(Image.open(path).quantize().convert("RGB"))
    Image.open(path).quantize().save(path, transparency=bytes(range(256)))
    found = load(root / "train", dataset="testfolder", tests_only=True).test
    assert np.array_equal(np.rint(found.images[:2][1] * 255), expected.transpose(2, 0, 1))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("value", "sides"), [(32, (32, 32)), ("32", (32, 32)), ("48x64", (48, 64)), ([48, 64], (48, 64))]
)
def test_a_size(value: object, sides: tuple[int, int]):
    config = DataConfig.model_validate({"dataset": "imagefolder", "image_size": value})
    assert config.sides == sides
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("value", [0, -3, "48by64", "0x4", [1, 2, 3], True, 1.5])
def test_no_size(value: object):
    with pytest.raises(ValidationError, match="must be a number of pixels, or HEIGHTxWIDTH such as 48x64"):
        DataConfig.model_validate({"dataset": "imagefolder", "image_size": value})


def test_a_path_names_a_folder_or_a_file(root: Path, monkeypatch: pytest.MonkeyPatch):
    named = DataConfig.model_validate({"dataset": str(root)})
    assert (named.dataset, named.root) == ("imagefolder", root)
    assert load_dataset(named).digest == load(root).digest
    monkeypatch.chdir(root.parent)
    assert DataConfig(dataset="data").dataset == "imagefolder"
    assert DataConfig(dataset="photos.npz").dataset == "npz"
    (root.parent / "digits").mkdir()
    assert DataConfig(dataset="digits").root is None  # a name comes first
    assert DataConfig(dataset="./digits").root == Path("digits")
    with pytest.raises(ValidationError, match="root: dataset 'data' says where it lies; leave root out"):
        DataConfig(dataset="data", root=root)


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
