"""`pruning.json`: rounds that add up, and files that are none."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.models import build_model
from edgeproof.stages.prune.architecture import cut_layers
from edgeproof.stages.prune.record import Cut, joined, read_pruning, together
from torch import nn

RECORD = {
    "schema_version": 1,
    "model": "cnn8_small",
    "image_shape": [1, 8, 8],
    "classes": 10,
    "seed": 0,
    "config": {"ratio": 0.5},
    "channels": 48,
    "before": {"parameters": 2, "multiply_adds": 2},
    "after": {"parameters": 1, "multiply_adds": 1},
    "accuracy_before": {"clean": 1, "pgd": 1},
    "rounds": [],
    "whole": {},
    "layers": {"0": {"outputs": [1], "inputs": []}, "1": {"outputs": [1]}, "3": {"inputs": [1]}},
}


def test_two_rounds_are_one():
    chance = random.Random(0)
    for _ in range(50):
        first, then = nn.Linear(12, 9), nn.Linear(12, 9)
        then.load_state_dict(first.state_dict())
        one = Cut(outputs=chance.sample(range(9), 3), inputs=chance.sample(range(12), chance.randrange(5)))
        two = Cut(outputs=chance.sample(range(6), 2), inputs=chance.sample(range(7), chance.randrange(4)))
        for cut in (one, two):
            cut_layers(first, {"": cut})
        cut_layers(then, joined({"": one}, {"": two}))
        assert torch.equal(first.weight, then.weight)
        assert torch.equal(first.bias, then.bias)


def test_cuts_of_one_layer_by_two_couplings():
    cuts = together(
        [{"a": Cut(outputs=(3, 1))}, {"a": Cut(inputs=(2,)), "b": Cut(inputs=(0,))}, {"a": Cut(inputs=(0,))}]
    )
    assert cuts == {"a": Cut(outputs=(1, 3), inputs=(0, 2)), "b": Cut(inputs=(0,))}


def classifier(folder: Path, **settings: object) -> Classifier:
    path = folder / "pruning.json"
    path.write_text(json.dumps(RECORD | settings))
    return Classifier("cnn8_small", folder / "w.safetensors", (1, 8, 8), 10, path)


def test_it_is_read_as_it_was_written(tmp_path: Path):
    whole = sum(parameter.numel() for parameter in build_model("cnn8_small", (1, 8, 8), 10, seed=0).parameters())
    found = classifier(tmp_path)
    assert found.parameters() == whole - 9 - 2 - 16 * 9
    assert found.pruning is not None
    record = read_pruning(found.pruning)
    record.save(tmp_path / "again.json")
    assert read_pruning(tmp_path / "again.json") == record


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"model": "cnn8_wide"},
            "is of model 'cnn8_wide' for 1×8×8 images and 10 classes, not of 'cnn8_small' for 1×8×8",
        ),
        ({"classes": 7}, "is of model 'cnn8_small' for 1×8×8 images and 7 classes, not of"),
        ({"schema_version": 2}, r"not a valid pruning record \(schema_version: must be 1\)"),
        ({"layers": {"0": {"outputs": ["x"]}}}, r"not a valid pruning record \(layers\.0\.outputs\.0: "),
        ({"layers": {"99": {"outputs": [1]}}}, "does not fit model 'cnn8_small': layer '99' is missing"),
        ({"layers": {"2": {"outputs": [1]}}}, "does not fit model 'cnn8_small': layer '2' is a ReLU"),
        ({"layers": {"0": {"outputs": [8]}}}, "layer '0' has 8 channels, so none that is numbered 8"),
        ({"layers": {"0": {"outputs": list(range(8))}}}, "layer '0' would lose all of its 8 channels"),
    ],
)
def test_records_of_something_else(settings: dict[str, object], words: str, tmp_path: Path):
    with pytest.raises(UsageError, match=rf"^{tmp_path}/pruning\.json: .*{words}"):
        classifier(tmp_path, **settings).parameters()


def test_files_that_are_no_records(tmp_path: Path):
    with pytest.raises(UsageError, match=r"pruning\.json: no such file$"):
        read_pruning(tmp_path / "pruning.json")
    (tmp_path / "pruning.json").write_text('{"schema_version": 1, "mod')
    with pytest.raises(UsageError, match=r"pruning\.json: not a valid pruning record \(Unterminated string"):
        read_pruning(tmp_path / "pruning.json")
