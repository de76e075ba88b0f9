"""The digits: real images, disjoint splits, a test split that never moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.data import DataConfig, Dataset, Split, datasets, load_dataset
from pydantic import ValidationError
from sklearn.datasets import load_digits


def test_splits_are_disjoint_complete_and_the_originals(digits: Dataset):
    original = load_digits()
    rows = np.concatenate([split.index for split in (digits.train, digits.validation, digits.test)])
    assert sorted(rows) == list(range(1797))
    for split in (digits.train, digits.validation, digits.test):
        assert np.array_equal(split.images[:, 0] * 16, original.images[split.index])
        assert np.array_equal(split.labels, original.target[split.index])
        shares = np.bincount(split.labels) / len(split)
        assert np.abs(shares - 0.1).max() < 0.02  # stratified


def test_the_seed_divides_only_what_is_not_test(digits: Dataset):
    other = load_dataset(DataConfig(dataset="digits", seed=1))
    assert np.array_equal(other.test.index, digits.test.index)
    assert not np.array_equal(np.sort(other.validation.index), np.sort(digits.validation.index))
    assert other.digest != digits.digest


def test_the_digest_sees_one_pixel(digits: Dataset):
    images = digits.train.images.copy()
    images[0, 0, 0, 0] += 1 / 16
    changed = replace(digits, train=Split(images, digits.train.labels, digits.train.index))
    assert changed.digest != digits.digest


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(ValidationError, match="unknown dataset 'digit'; did you mean 'digits'"):
        DataConfig(dataset="digit")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: Split(s.images * 255, s.labels, s.index), r"images must lie in \[0, 1\]"),
        (lambda s: Split(s.images, s.labels + 5, s.index), r"labels must lie in \[0, 10\)"),
        (lambda s: Split(s.images.astype(np.float64), s.labels, s.index), "float32"),
    ],
)
def test_a_loader_that_breaks_the_contract(digits: Dataset, monkeypatch: pytest.MonkeyPatch, spoil, words: str):
    monkeypatch.setitem(datasets._entries, "spoilt", lambda config: replace(digits, train=spoil(digits.train)))
    with pytest.raises(StageError, match=words):
        load_dataset(DataConfig(dataset="spoilt"))


def test_train_and_validation_are_honoured(digits: Dataset):
    data = load_dataset(DataConfig(dataset="digits", train=100, validation=50))
    assert (len(data.train), len(data.validation)) == (100, 50)
    assert np.array_equal(data.test.index, digits.test.index)


def test_the_digest_stays_what_it_was(digits: Dataset):
    """Finished runs are known by it."""
    assert digits.digest == "b8af3086481729bd34237571b80d5f3a8183d6b7f1b577944649e783d3690b4b"


def test_digits_are_not_resized():
    with pytest.raises(UsageError, match=r"data\.image_size: its images are 8×8 and are not resized, got 16"):
        load_dataset(DataConfig(dataset="digits", image_size=16))
