"""Images of one's own as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, load_dataset

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (12, 3, 5, 7), np.uint8)
LABELS = np.arange(12) % 3
# A float32 image, twenty roundings beyond 1.
OVER = np.where(IMAGES == 255, np.float32(1.000002), (IMAGES / 255).astype(np.float32))


def load(path: Path, *, tests_only: bool = True, **arrays: object):
    np.savez(path / "own.npz", **arrays)  # type: ignore[arg-type]
    return load_dataset(DataConfig(dataset="npz", root=path / "own.npz"), tests_only=tests_only)


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (IMAGES, (3, 5, 7)),
        (IMAGES.transpose(0, 2, 3, 1), (3, 5, 7)),
        ((IMAGES / 255).astype(np.float64), (3, 5, 7)),
        (IMAGES[:, 0], (1, 5, 7)),
        (IMAGES.astype(np.int64), (3, 5, 7)),
        (np.asfortranarray(IMAGES), (3, 5, 7)),
    ],
)
def test_all_its_images_are_test_images_whatever_the_layout(tmp_path: Path, images: np.ndarray, shape: tuple):
    found = load(tmp_path, images=images, labels=LABELS)
    assert found.tests_only
    assert found.image_shape == shape
    assert found.test.images.dtype == np.float32
    np.testing.assert_allclose(found.test.images, IMAGES[:, : shape[0]] / 255, atol=1e-7)
    assert found.test.labels.tolist() == LABELS.tolist()
    assert found.class_names == ("0", "1", "2")


def test_images_with_alpha_have_four_channels(tmp_path: Path):
    images = RANDOM.integers(0, 256, (12, 4, 5, 4), np.uint8)
    for given, expected in ((images, images), (images.transpose(0, 2, 3, 1)[:, :, 1:], images[..., 1:])):
        found = load(tmp_path, images=given, labels=LABELS).test.images
        np.testing.assert_allclose(found, expected / 255, atol=1e-7)


@pytest.mark.parametrize("beyond", [np.nextafter(np.float32(1), np.float32(2)), np.float32(1 + 5e-7)])
def test_a_rounding_beyond_the_range_is_taken_off(tmp_path: Path, beyond: np.float32):
    images = (IMAGES / 255).astype(np.float32)
    found = load(tmp_path, images=np.where(images == 1, beyond, images), labels=LABELS)
    assert np.array_equal(found.test.images, images)


@pytest.mark.parametrize(
    "labels", [LABELS[:, None], LABELS.astype(np.float32), np.eye(3)[LABELS], np.eye(3, dtype=bool)[LABELS]]
)
def test_labels_in_other_forms(tmp_path: Path, labels: np.ndarray):
    assert load(tmp_path, images=IMAGES, labels=labels).test.labels.tolist() == LABELS.tolist()


def test_training_images_are_divided_and_test_images_stay(tmp_path: Path):
    more = np.repeat(IMAGES, 10, axis=0)
    found = load(
        tmp_path,
        tests_only=False,
        images=IMAGES,
        labels=LABELS,
        train_images=more,
        train_labels=np.repeat(LABELS, 10),
        class_names=np.array(["cat", "dog", "bird", "fish"]),
    )
    assert not found.tests_only
    assert (len(found.train) + len(found.validation), len(found.test)) == (120, 12)
    assert found.class_names == ("cat", "dog", "bird", "fish")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": IMAGES}, r"own\.npz: has no key 'labels' \(it has: images\)"),
        ({"images": IMAGES, "labels": LABELS[:3]}, r"labels must be integers \[12\], one an image, got int64 \[3\]"),
        ({"images": IMAGES, "labels": LABELS / 2}, r"labels must be integers \[12\], one an image, got float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels must be 0 or more, found -1"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, r"must lie in \[0, 1\], found 0 to 255; divide by"),
        ({"images": IMAGES / np.nan, "labels": LABELS}, r"must lie in \[0, 1\], found NaN"),
        ({"images": IMAGES.astype(np.int32) + 1, "labels": LABELS}, r"images must be uint8, or floats .* got int32"),
        ({"images": IMAGES.astype(np.int32) // 200, "labels": LABELS}, r"images must be uint8, or floats .* got int32"),
        (
            {"images": IMAGES, "labels": LABELS[:, None] + [0, 1]},
            r"labels must be integers \[12\], .* got int64 \[12, 2\]",
        ),
        ({"images": OVER, "labels": LABELS}, r"must lie in \[0, 1\], found 0 to 1.000002$"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images is empty"),
        ({"images": IMAGES, "labels": LABELS, "class_names": np.array(["a"])}, "class_names are 1, and there is a lab"),
        ({"images": IMAGES, "labels": LABELS, "train_images": IMAGES}, "has train_images and no train_labels"),
        ({"images": np.array([{}] * 2), "labels": LABELS}, "is no intact .npz file"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_anything_else_is_refused(tmp_path: Path, arrays: dict, words: str):
    with pytest.raises(UsageError, match=words):
        load(tmp_path, **arrays)


def test_a_file_that_is_no_archive_is_not_taken_for_a_pickle(tmp_path: Path):
    (tmp_path / "own.npz").write_text("hello")
    with pytest.raises(UsageError) as caught:
        load_dataset(DataConfig(dataset="npz", root=tmp_path / "own.npz"))
    assert "is no intact .npz file" in str(caught.value)
    assert "unsafely" not in str(caught.value)


def test_there_is_nothing_to_train_on(tmp_path: Path):
    with pytest.raises(UsageError, match="has test images only; there is nothing to train on"):
        load(tmp_path, tests_only=False, images=IMAGES, labels=LABELS)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone\.npz: no such file; an \.npz file with `images` and `labels`"):
        load_dataset(DataConfig(dataset="npz", root=tmp_path / "gone.npz"))
    with pytest.raises(UsageError, match="name its file by --data-root"):
        load_dataset(DataConfig(dataset="npz"))
