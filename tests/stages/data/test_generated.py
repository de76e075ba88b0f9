"""Generated images that are mixed into training: read, checked, and part of the digest by what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from pydantic import ValidationError

COUNT = 30


def arrays() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"image": random.integers(0, 256, (COUNT, 8, 8, 1), np.uint8), "label": np.arange(COUNT) % 10}


def load(extra: Path, **keys: object) -> Dataset:
    return load_dataset(DataConfig.model_validate({"dataset": "digits", "extra": extra, **keys}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "ddpm.npz", **arrays())
    return tmp_path / "ddpm.npz"


def test_they_are_given_beside_the_splits_and_not_in_them(file: Path, digits: Dataset):
    data = load(file)
    assert data.generated is not None
    assert data.generated.images.shape == (COUNT, 1, 8, 8)
    assert data.generated.images.dtype == np.uint8
    assert np.array_equal(data.generated.images[:, 0], arrays()["image"][..., 0])
    assert np.array_equal(data.generated.labels, arrays()["label"])
    assert data.generated.labels.dtype == np.int64
    assert data.generated.fraction == 0.7
    for name in ("train", "validation", "test"):
        assert np.array_equal(getattr(data, name).images, getattr(digits, name).images)
    assert data.sources == (file,)


def test_channels_go_where_they_belong(tmp_path: Path):
    from edgeproof.stages.data.generated import read_generated

    images = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 6, 3), np.uint8)
    np.savez(tmp_path / "x.npz", image=images, label=np.arange(COUNT) % 2)

    class Wide:
        name, image_shape, class_names = "wide", (3, 4, 6), ("a", "b")

    generated = read_generated(tmp_path / "x.npz", 0.5, Wide())  # type: ignore[arg-type]
    assert generated.images[2, 1, 3, 5] == images[2, 3, 5, 1]
    assert generated.images.shape == (COUNT, 3, 4, 6)


def test_the_digest_sees_what_they_are_and_not_where_they_lie(file: Path, tmp_path: Path, digits: Dataset):
    expected = load(file).digest
    assert expected != digits.digest
    elsewhere = tmp_path / "elsewhere.npz"
    np.savez_compressed(elsewhere, **arrays())
    assert load(elsewhere).digest == expected
    other = arrays()
    other["image"][29, 7, 7, 0] ^= 1
    np.savez(elsewhere, **other)
    assert load(elsewhere).digest != expected
    np.savez(elsewhere, **{**arrays(), "label": (arrays()["label"] + 1) % 10})
    assert load(elsewhere).digest != expected
    assert load(file, extra_fraction=0.5).digest != expected


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"label": None}, "has no key 'label' (it has: image)"),
    "no image": ({"image": None, "data": np.zeros(3)}, "has no key 'image' (it has: label, data)"),
    "floats": (
        {"image": np.zeros((COUNT, 8, 8, 1), np.float32)},
        "image must be uint8 [N, 8, 8, 1] for dataset 'digits', got float32 [30, 8, 8, 1]",
    ),
    "of another set": (
        {"image": np.zeros((COUNT, 32, 32, 3), np.uint8)},
        "image must be uint8 [N, 8, 8, 1] for dataset 'digits', got uint8 [30, 32, 32, 3]",
    ),
    "channels first": (
        {"image": np.zeros((COUNT, 1, 8, 8), np.uint8)},
        "image must be uint8 [N, 8, 8, 1] for dataset 'digits', got uint8 [30, 1, 8, 8]",
    ),
    "fewer labels": (
        {"label": np.arange(10)},
        "label must be integers [30], one an image, got int64 [10]",
    ),
    "soft labels": (
        {"label": np.zeros((COUNT, 10))},
        "label must be integers [30], one an image, got float64 [30, 10]",
    ),
    "another class": ({"label": np.full(COUNT, 10)}, "label must lie in [0, 10), found 10"),
    "unlabelled": ({"label": np.full(COUNT, -1)}, "label must lie in [0, 10), found -1"),
    "none": (
        {"image": np.zeros((0, 8, 8, 1), np.uint8), "label": np.zeros(0, np.int64)},
        "image is empty",
    ),
    "objects": ({"image": np.array([{}, []], object)}, "is no intact .npz file (Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_content_is_told_in_one_line(case: str, tmp_path: Path):
    changed, words = BAD[case]
    content = {name: array for name, array in {**arrays(), **changed}.items() if array is not None}
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "x.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["cut", "text", "empty", "flipped"])
def test_a_broken_file_is_named(file: Path, spoil: str):
    content = bytearray(file.read_bytes())
    if spoil == "flipped":
        content[200] ^= 255
    new = {"cut": content[:-40], "text": b"no archive", "empty": b"", "flipped": content}[spoil]
    file.write_bytes(new)
    with pytest.raises(UsageError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: is no intact .npz file (")


def test_a_single_array_is_no_npz(tmp_path: Path):
    np.save(tmp_path / "x.npy", arrays()["image"])
    with pytest.raises(UsageError, match=r"is a single array; an \.npz file with `image` and `label` is needed"):
        load(tmp_path / "x.npy")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone\.npz: no such file"):
        load(tmp_path / "gone.npz")


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1])
def test_fractions_that_are_none(fraction: float):
    with pytest.raises(ValidationError, match="extra_fraction"):
        DataConfig.model_validate({"dataset": "digits", "extra": "x.npz", "extra_fraction": fraction})


def test_a_fraction_of_nothing():
    with pytest.raises(ValidationError, match="extra_fraction: says how much of `extra` to mix in"):
        DataConfig(dataset="digits", extra_fraction=0.5)
