"""Images in memory: every form that they come in is the same data set, and what is none is told by its argument."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, load_dataset
from edgeproof.stages.data.in_memory import dataset_in_memory
from torch.utils.data import DataLoader, TensorDataset

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), np.uint8)
FLOATS = BYTES / np.float32(255)
LABELS = np.array([0, 1, 2, 2, 1, 0])
PAIRS = TensorDataset(torch.from_numpy(FLOATS), torch.from_numpy(LABELS))


class InMaite:
    """A data set by MAITE's protocol: images, one-hot targets, metadata; it cannot be iterated over to an end."""

    metadata: ClassVar = {"id": "mine", "index2label": {0: "tank", 1: "truck", 2: "tree"}}

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, number: int) -> tuple[Any, Any, Any]:
        number %= len(LABELS)
        return FLOATS[number], np.eye(3)[LABELS[number]], {"id": number}


@pytest.mark.parametrize(
    "given",
    [
        (BYTES, LABELS),
        (FLOATS, LABELS.astype(np.uint8)),
        (FLOATS.astype(np.float64), np.eye(3)[LABELS]),
        (FLOATS.transpose(0, 2, 3, 1), LABELS[:, None]),
        (BYTES.astype(np.int64), list(LABELS)),
        (list(FLOATS), LABELS.astype(float)),
        (torch.from_numpy(FLOATS).requires_grad_(), torch.from_numpy(LABELS)),
        (torch.from_numpy(BYTES), torch.from_numpy(np.eye(3)[LABELS])),
        (list(torch.from_numpy(FLOATS)), list(torch.from_numpy(LABELS))),
        (PAIRS,),
        (DataLoader(PAIRS, 4),),
        (InMaite(),),
        ([*DataLoader(PAIRS, 4)].__iter__(),),
    ],
    ids=lambda given: "-".join(type(each).__name__ for each in given),
)
def test_every_form_is_the_file_s_data_set(tmp_path: Any, given: tuple[Any, ...]):
    np.savez(tmp_path / "same.npz", images=BYTES, labels=LABELS)
    there = load_dataset(DataConfig(dataset=str(tmp_path / "same.npz")), tests_only=True)
    found = dataset_in_memory(*given)
    assert found.test.images.dtype == np.float32
    assert np.array_equal(found.test.images, there.test.images)
    assert np.array_equal(found.test.labels, LABELS)
    assert found.test.labels.dtype == np.int64
    assert found.digest == there.digest or found.class_names == ("tank", "truck", "tree")


def test_names_of_classes():
    assert dataset_in_memory(InMaite()).class_names == ("tank", "truck", "tree")
    assert dataset_in_memory(InMaite(), class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    named = DataLoader(PAIRS)
    named.dataset.classes = ["x", "y", "z", "unseen"]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        assert dataset_in_memory(named).class_names == ("x", "y", "z", "unseen")
    finally:
        del named.dataset.classes  # pyright: ignore[reportAttributeAccessIssue]


def test_what_was_given_is_not_touched_nor_held():
    mine = FLOATS.copy()
    found = dataset_in_memory(mine, LABELS)
    mine[:] = 0
    assert np.array_equal(found.test.images, FLOATS)
    found.test.images[:] = 1
    assert not mine.any()


NAN = FLOATS.copy()
NAN[0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((FLOATS,), "^labels: are needed beside images"),
        ((None, None), "^labels: are needed beside images"),
        ((PAIRS, LABELS), "^labels: images is a TensorDataset, which has its labels in it; leave labels out$"),
        ((FLOATS, LABELS[:5]), r"^labels must be integers \[6\], one an image, got int64 \[5\]$"),
        ((FLOATS, np.full((6, 3), 1 / 3)), r"^labels must be integers \[6\], .* float64 \[6, 3\]$"),
        ((FLOATS, LABELS - 1), "^labels must be 0 or more, found -1$"),
        ((FLOATS, ["a"] * 6), r"^labels: must be numbers, got <U1 \[6\]$"),
        (
            (FLOATS * 255, LABELS),
            r"^images must lie in .0, 1., found .*; divide by what stands for white first .255\?., or store uint8$",
        ),
        ((FLOATS * 4 - 2, LABELS), "^images must lie in .* to 2; where they are normalised, give the pixels"),
        ((NAN, LABELS), "^images must lie in .0, 1., found NaN$"),
        ((FLOATS[0, 0], LABELS), r"^images must be uint8, or floats in .*; got float32 \[4, 5\]$"),
        ((FLOATS.astype(complex), LABELS), r"^images: must be numbers, got complex128 \[6, 3, 4, 5\]$"),
        ((FLOATS[:0], LABELS[:0]), "^images is empty$"),
        (([FLOATS[0], FLOATS[0, :2]], LABELS[:2]), "^images: cannot be read as one array: "),
        ((TensorDataset(torch.zeros(0, 3, 4, 5), torch.zeros(0)),), "^images: the TensorDataset yields none$"),
        ((TensorDataset(torch.from_numpy(FLOATS)),), "^images: a TensorDataset must yield pairs of image and label"),
        ((DataLoader(PAIRS, shuffle=True),), "^images: the DataLoader shuffles, .*shuffle=False"),
        ((3,), "^images: must be arrays, tensors, a DataLoader or a Dataset, got int$"),
        ((iter([(FLOATS[0], 0), (FLOATS[1, :, :2], 1)]),), r"^images: must have one shape, got \[3, "),
        (((1 / 0 for _ in range(3)),), "^images: reading the generator raised ZeroDivisionError: division by zero$"),
        ((FLOATS, LABELS, ["a", "b"]), "^class_names are 2, and there is a label 2$"),
        ((FLOATS, LABELS, ["a", "b", "b"]), "^class_names: must be two or more, each another"),
    ],
)
def test_what_is_no_data_set_is_told_in_one_line(given: tuple[Any, ...], words: str):
    with pytest.raises(UsageError, match=words) as told:
        dataset_in_memory(*given)
    assert "\n" not in str(told.value)
