"""Every registered data set, read from its own on-disk format."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.data import DataConfig, Dataset, Split, load_dataset
from PIL import Image

from tests.stages.data.synthetic import TRAIN, WRITERS, Original

NAMES = sorted(WRITERS)
# Tiny sets of 43 classes need at least one held-out image each, and leave as many.
COUNTS = {"gtsrb": {"validation": 43}}


def load(name: str, root: Path | None, *, tests_only: bool = False, **keys: object) -> Dataset:
    config = DataConfig.model_validate({"dataset": name, "root": root, **COUNTS.get(name, {}), **keys})
    return load_dataset(config, tests_only=tests_only)


@pytest.fixture(params=NAMES)
def original(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    (tmp_path / "data").mkdir()
    return WRITERS[request.param](tmp_path / "data", monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def come_from(split: Split, original: Original, labels: np.ndarray, *, test: bool = False) -> None:
    """Hold every sample to the row that its index names."""
    for image, label, row in zip(split.images, split.labels, split.index, strict=True):
        assert original.is_row(image, row, test)
        assert label == labels[row]


def test_every_sample_is_the_one_its_index_names(original: Original, root: Path):
    data = load(original.name, root)
    assert data.image_shape[1:] == (original.size, original.size)
    rest = np.concatenate([data.train.index, data.validation.index])
    if original.test_labels is None:
        come_from(data.test, original, original.labels)
        rest = np.concatenate([rest, data.test.index])
    else:
        come_from(data.test, original, original.test_labels, test=True)
        assert list(data.test.index) == list(range(len(original.test_labels)))
    for split in (data.train, data.validation):
        come_from(split, original, original.labels)
    assert sorted(rest) == list(range(len(original.labels)))  # complete, and none in two splits


def test_the_seed_moves_only_train_and_validation(original: Original, root: Path):
    one, same, other = (load(original.name, root, seed=seed) for seed in (0, 0, 1))
    assert one.digest == same.digest != other.digest
    assert np.array_equal(one.test.index, other.test.index)
    assert np.array_equal(one.test.images, other.test.images)
    assert set(one.validation.index) != set(other.validation.index)


def test_the_digest_does_not_know_where_files_lie(original: Original, root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / "elsewhere")
    assert load(original.name, root).digest == load(original.name, tmp_path / "elsewhere").digest


def test_sources_are_what_was_read(original: Original, root: Path):
    sources = load(original.name, root).sources
    assert sources
    for source in sources:
        assert source.is_relative_to(root)
        shutil.rmtree(source) if source.is_dir() else source.unlink()
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_nothing_is_written_where_the_files_are(original: Original, root: Path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    load(original.name, root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_unpacked_idx_files_are_read_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original = WRITERS[name](tmp_path, monkeypatch, zipped=False)
    come_from(load(name, tmp_path).train, original, original.labels)


@pytest.mark.parametrize(("name", "folder"), [("fashion_mnist", "fashion-mnist"), ("cifar10", "CIFAR10")])
def test_a_folder_named_after_the_set(name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / folder).mkdir()
    (tmp_path / "another").mkdir()
    WRITERS[name](tmp_path / folder, monkeypatch)
    assert len(load(name, tmp_path).test) == 20


def test_the_root_is_the_recipes_then_the_environments_then_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: dict[str, int] = {}
    ours = tmp_path / "home" / ".cache" / "edgeproof" / "data"
    for number, folder in enumerate((tmp_path / "recipe", tmp_path / "environment", ours)):
        folder.mkdir(parents=True)
        WRITERS["imagefolder"](folder, monkeypatch)
        if folder != ours:  # ImageFolder has no place of its own in ours
            for path in sorted((folder / "test").rglob("*.png"))[:number]:
                path.unlink()
        sizes[folder.name] = 12 - number
    monkeypatch.setenv("EDGEPROOF_DATA", str(tmp_path / "environment"))
    assert len(load("imagefolder", tmp_path / "recipe").test) == sizes["recipe"]
    assert len(load("imagefolder", None).test) == sizes["environment"]
    monkeypatch.delenv("EDGEPROOF_DATA")
    WRITERS["mnist"](ours, monkeypatch)
    assert len(load("mnist", None).train) == TRAIN - 10


@pytest.mark.parametrize("name", ["eurosat", "gtsrb", "imagefolder"])
def test_of_image_files_only_what_is_taken_is_decoded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original = WRITERS[name](tmp_path, monkeypatch)
    whole = load(name, tmp_path, image_size=original.size)
    opened: list[str] = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: opened.append(mode) or convert(image, mode))
    found = load(name, tmp_path, image_size=original.size, tests_only=True)
    assert (found.image_shape, found.digest, opened) == (whole.image_shape, whole.digest, [])
    rows = np.array([2, 0])
    assert np.array_equal(found.test.take(rows).images, whole.test.images[rows])
    assert opened == ["RGB"] * 2
