"""Dividing: by class, by the seed, and never more than there is."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, Dataset, divide
from edgeproof.stages.data.stratify import stratified_split
from pydantic import ValidationError
from sklearn.model_selection import train_test_split

# Very unequal classes, so that drawing by class and drawing blindly differ.
LABELS = np.repeat([0, 1, 2], [1000, 300, 100])
IMAGES = (np.arange(1400) % 256).astype(np.uint8)[:, None, None, None]
NAMES = ("many", "some", "few")


def divided(labels: np.ndarray = LABELS, test: bool = False, **keys: object) -> Dataset:
    config = DataConfig.model_validate({"dataset": "digits", **keys})
    images = IMAGES[: len(labels)]
    return divide("mine", NAMES, images, labels, config, test=(images[:30], labels[:30]) if test else None)


def counts(labels: np.ndarray) -> list[int]:
    return np.bincount(labels, minlength=3).tolist()


def test_train_is_drawn_by_class():
    data = divided(test=True, train=140, validation=0.5)
    assert counts(data.train.labels) == [100, 30, 10]
    assert counts(data.validation.labels) == [500, 150, 50]
    assert not set(data.train.index) & set(data.validation.index)


def test_the_seed_draws_train():
    one, same, other = (set(divided(train=100, seed=seed).train.index) for seed in (3, 3, 4))
    assert one == same != other


def test_train_does_not_move_validation_or_test():
    some, all_ = divided(train=100), divided()
    for name in ("validation", "test"):
        assert np.array_equal(getattr(some, name).index, getattr(all_, name).index)
    assert set(some.train.index) < set(all_.train.index)


def test_without_a_test_split_a_fifth_is_drawn_always_the_same():
    one, other = divided(seed=0), divided(seed=1, train=100, validation=50)
    assert counts(one.test.labels) == [200, 60, 20]
    assert np.array_equal(one.test.index, other.test.index)
    rows = np.concatenate([split.index for split in (one.train, one.validation, one.test)])
    assert sorted(rows) == list(range(1400))


@pytest.mark.parametrize(("asked", "given"), [({}, 140), ({"validation": 77}, 77), ({"validation": 0.25}, 350)])
def test_the_size_of_validation(asked: dict[str, float], given: int):
    assert len(divided(test=True, **asked).validation) == given


def test_validation_has_at_most_5000_by_default():
    images, labels = np.zeros((60_000, 1, 1, 1), np.uint8), np.arange(60_000) % 10
    config = DataConfig(dataset="digits")
    data = divide("mine", [str(n) for n in range(10)], images, labels, config, test=(images[:10], labels[:10]))
    assert counts(data.validation.labels)[:2] == [500, 500]
    assert len(data.train) == 55_000


def test_pixels_become_floats_as_torchvision_makes_them():
    from torchvision.transforms.functional import to_tensor

    data = divided(test=True)
    assert data.test.images.dtype == np.float32
    expected = np.stack([to_tensor(IMAGES[row, 0]).numpy() for row in data.test.index])
    assert np.array_equal(data.test.images, expected)
    assert data.train.images.flags.c_contiguous


def test_all_training_images_may_be_asked_for():
    assert np.array_equal(divided(train=divided().train.index.size).train.index, divided().train.index)


@pytest.mark.parametrize(
    ("labels", "keys", "words"),
    [
        (LABELS, {"train": 1401}, "data.train: 1401 is more than its 1260 training images"),
        (LABELS, {"train": 1259}, "data.train: 1259 of 1260 images leave too few; at most 1257"),
        (LABELS, {"train": 2}, "data.train: 2 images cannot hold all 3 classes"),
        (LABELS, {"validation": 2}, "data.validation: 2 images cannot hold all 3 classes"),
        (LABELS, {"validation": 1400}, "data.validation: 1400 of 1400 images leave too few; at most 1397"),
        (LABELS[:1301], {}, "data.validation: class 'few' has a single image left to divide; two are needed"),
    ],
)
def test_what_cannot_be_divided(labels: np.ndarray, keys: dict[str, int], words: str):
    with pytest.raises(UsageError) as caught:
        divided(labels, test=True, **keys)
    assert str(caught.value) == f"dataset 'mine': {words}" + (" can be drawn" if "at most" in words else "")


@pytest.mark.parametrize("value", [0, -3, 1.0, 1.5, 0.0, True, "many"])
def test_validation_is_a_number_or_a_share(value: object):
    with pytest.raises(ValidationError, match="must be a number of images"):
        DataConfig.model_validate({"dataset": "digits", "validation": value})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_nothing_can_be_drawn_by(seed: int):
    with pytest.raises(ValidationError, match="seed"):
        DataConfig(dataset="digits", seed=seed)


@pytest.mark.parametrize("seed", range(40))
def test_the_split_is_scikit_learns(seed: int):
    """Equal classes leave ties, which are broken by lot; rows and labels are any."""
    rng = np.random.default_rng(seed)
    sizes = np.full(7, 11) if seed % 2 else rng.integers(4, 60, rng.integers(2, 9))
    labels = rng.permutation(np.repeat(rng.choice(1000, len(sizes), replace=False), sizes))
    rows = rng.permutation(5000)[: len(labels)]
    count = int(rng.integers(len(sizes), len(rows) - len(sizes)))
    theirs = train_test_split(rows, test_size=count, stratify=labels, random_state=seed)
    for mine, reference in zip(stratified_split(rows, labels, count, seed), theirs, strict=True):
        assert mine.tolist() == reference.tolist()
