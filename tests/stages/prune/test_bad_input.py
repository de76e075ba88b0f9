"""What cannot be pruned, and settings that make no sense: one line with the reason."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.checkpoint import save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import TrainingContext
from edgeproof.stages.models import build_model
from edgeproof.stages.prune import PruneConfig, prune_student
from edgeproof.stages.prune.coupling import Couplings
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError
from torch import Tensor, nn

pytest.importorskip("torch_pruning")

USERS = """
import torch
from torch import nn

class Shuffled(nn.Module):
    '''Reorders its channels by a reshape.'''
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3)
        self.linear = nn.Linear(16, 10)
    def forward(self, x):
        out = self.one(x)
        out = out.view(len(x), 2, -1, 6, 6).transpose(1, 2).reshape(len(x), -1, 6, 6)
        return self.linear(self.two(out).mean((2, 3)))

class Sized(nn.Module):
    '''Knows by heart how many channels it has.'''
    def __init__(self):
        super().__init__()
        self.one, self.linear = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)
    def forward(self, x):
        return self.linear(self.one(x).view(-1, 16, 36).mean(2))

class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.norm, self.linear = nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.Linear(16, 10)
    def forward(self, x):
        return self.linear(self.norm(self.one(x)).mean((2, 3)))

class Gain(nn.Conv2d):
    '''Holds more than a weight and a bias.'''
    def __init__(self):
        super().__init__(1, 16, 3)
        self.gain = nn.Parameter(torch.ones(16, 1, 1))
    def forward(self, x):
        return super().forward(x) * self.gain

class Gained(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.linear = Gain(), nn.Linear(16, 10)
    def forward(self, x):
        return self.linear(self.one(x).mean((2, 3)))

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
    def forward(self, x):
        return self.linear(x.flatten(1))

def shuffled(image_shape, classes): return Shuffled()
def sized(image_shape, classes): return Sized()
def normed(image_shape, classes): return Normed()
def gained(image_shape, classes): return Gained()
def flat(image_shape, classes): return Flat()
"""
QUICK: dict[str, Any] = {
    "ratio": 0.5,
    "samples": 32,
    "train": {"epochs": 1, "inner": {"steps": 1}, "selection_steps": 1},
}


@pytest.fixture
def refused(student: Classifier, small: Dataset, threat: ThreatModel, tmp_path: Path) -> Callable[..., str]:
    def run(source: Classifier = student, **settings: Any) -> str:
        config = PruneConfig.model_validate(QUICK | settings)
        trained: list[object] = []
        running = TrainingContext(accelerator="cpu", on_step=trained.append)
        with pytest.raises(UsageError) as caught:
            prune_student(source, config, student, small, threat, tmp_path, running=running)
        assert not trained, "it is told before any training"
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Classifier]:
    (tmp_path / "networks_of_a_user.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)

    def make(function: str) -> Classifier:
        name, path = f"networks_of_a_user:{function}", tmp_path / f"{function}.safetensors"
        save_weights(build_model(name, (1, 8, 8), 10, seed=0).state_dict(), path, model=name)
        return Classifier(name, path, (1, 8, 8), 10)

    return make


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("shuffled", "torch-pruning mistakes its channels for each other: the logits differ by "),
        ("sized", "without the channels that torch-pruning chose it fails: "),
        ("normed", "no layer can lose channels ('one': it is coupled with GroupNorm 'norm', whose channels we cannot"),
        (
            "gained",
            "no layer can lose channels ('one': it is coupled with Gain 'one', whose channels we cannot remove)",
        ),
        ("flat", "no layer can lose channels ('linear': its outputs are the logits)"),
    ],
)
def test_models_that_cannot_be_pruned(
    function: str, words: str, user: Callable[[str], Classifier], refused: Callable[..., str]
):
    message = refused(user(function))
    assert message.startswith(f"model 'networks_of_a_user:{function}': cannot be pruned: {words}")


class Untraceable(nn.Module):
    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.linear, self.does = nn.Conv2d(1, 16, 3), nn.Linear(16, 10), does

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self.linear(self.one(x).mean((2, 3))))


def failing(_: Tensor) -> Tensor:
    raise RuntimeError("only for some\nimages")


@pytest.mark.parametrize(
    ("does", "words"), [(Tensor.detach, "no layer leads to its logits"), (failing, "only for some")]
)
def test_a_model_that_cannot_be_traced(does: Callable[[Tensor], Tensor], words: str):
    with pytest.raises(UsageError) as caught:
        Couplings(Untraceable(does), (1, 8, 8), "mine:net")
    assert str(caught.value) == f"model 'mine:net': cannot be pruned: torch-pruning cannot trace it: {words}"


def test_a_ratio_that_leaves_no_channel(refused: Callable[..., str]):
    assert refused(ratio=0.95) == (
        "prune.ratio: 0.95 leaves no channel of layer '0', which has 8; it can be at most 0.937"
    )
    assert refused(ratio=0.95, rounds=5) == refused(ratio=0.95), "told in the first round of five"
    assert "leaves 2 of 48 channels, so none for some of 3 layers" in refused(ratio=0.95, global_ranking=True)


def test_a_ratio_that_removes_nothing(refused: Callable[..., str]):
    assert refused(ratio=0.1, rounds=2) == (
        "prune.ratio: 0.1 removes nothing with prune.round_to 8; raise the ratio or lower round_to"
    )


def test_a_missing_extra_is_one_line_with_the_command(
    refused: Callable[..., str], student: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    imported = builtins.__import__

    def without(name: str, *rest, **more):
        if name == "torch_pruning":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    unread = replace(student, weights=tmp_path / "none.safetensors")
    assert refused(unread) == "prune needs the prune extra: pip install 'edgeproof[prune]'"


def test_a_missing_teacher(refused: Callable[..., str]):
    train = QUICK["train"] | {"method": "mtard"}
    assert refused(train=train, round_to=4) == "prune.train.method: 'mtard' needs a natural teacher"


def test_weights_of_another_model(refused: Callable[..., str], tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_weights({"w": torch.zeros(1)}, path, model="cnn8_small")
    assert "does not fit model 'cnn8_small'" in refused(Classifier("cnn8_small", path, (1, 8, 8), 10))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "ratio\n  Field required"),
        ({"ratio": 0}, "greater than 0"),
        ({"ratio": 1}, "less than 1"),
        ({"ratio": 0.5, "importance": "l3"}, "Input should be 'magnitude_l1', 'magnitude_l2' or 'taylor'"),
        ({"ratio": 0.5, "round_to": 0}, "greater than or equal to 1"),
        ({"ratio": 0.5, "rounds": 0}, "greater than or equal to 1"),
        ({"ratio": 0.5, "ratios": 1}, "Extra inputs are not permitted"),
        ({"ratio": 0.5, "train": {"method": "peeraid"}}, "'peeraid' trains a peer beside the student"),
        ({"ratio": 0.5, "train": {"warm_start": "w.safetensors"}}, "warm_start: the pruned student's own weights"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str):
    with pytest.raises(ValidationError) as caught:
        PruneConfig.model_validate(settings)
    assert words in str(caught.value)


def test_the_fine_tuning_has_its_own_defaults():
    train = PruneConfig.model_validate({"ratio": 0.5, "train": {"epochs": 3}}).train
    assert (train.method, train.epochs, train.learning_rate, train.schedule) == ("adaad", 3, 0.02, "cosine")
    assert PruneConfig(ratio=0.5).train.epochs == 10
    assert PruneConfig(ratio=0.5, rounds=3).epochs == 30
