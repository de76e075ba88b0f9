"""Names of models: families, near misses, extras that are not installed, and a user's own function."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.models import build_model, models, package_behind

DIGITS = (1, 8, 8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet19", "unknown model 'resnet19'; did you mean 'resnet18'?"),
        ("wrn-34-10", "(known: cnn28_small"),
        ("wrn-34-10", "wrn_<depth>_<width>"),
        ("wrn_34", "unknown model 'wrn_34'; did you mean 'wrn_34_"),
        ("wrn_33_10", "model 'wrn_33_10': a depth is 6n + 4 (10, 16, 22, 28, 34, ...)"),
        ("wrn_33_10", "the nearest is wrn_34_10"),
        ("wrn_34_0", "a width at least 1; the nearest is wrn_34_1"),
        ("wrn_4_1", "the nearest is wrn_10_1"),
        ("torchvision/resnet81", "did you mean 'torchvision/resnet18'? (the form is torchvision/<name>)"),
        ("torchvision/fasterrcnn_resnet50_fpn", "unknown model 'torchvision/fasterrcnn_resnet50_fpn'"),
    ],
)
def test_unknown_names_say_what_would_be_right(name: str, words: str):
    with pytest.raises(UsageError) as caught:
        models[name]
    assert words in str(caught.value)


@pytest.mark.parametrize("extra", ["timm", "robustbench"])
def test_a_missing_extra_is_one_line_with_the_command(extra: str, monkeypatch: pytest.MonkeyPatch):
    from edgeproof.stages.models import robustbench

    robustbench.zoo.cache_clear()
    imported = builtins.__import__

    def without(name: str, *rest, **more):
        if name == extra:
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(robustbench, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=rf"needs the {extra} extra: pip install 'edgeproof\[{extra}\]'$"):
        models[f"{extra}/resnet18"]


def test_a_familys_package_counts_towards_what_made_an_artifact():
    assert package_behind("timm/resnet18") == ("timm",)
    assert package_behind("robustbench/Linf/Wong2020Fast") == ("robustbench",)
    assert package_behind("wrn_34_10") == package_behind("my.module:net") == ()


MINE = """
import torch
from torch import nn
from edgeproof.core.errors import UsageError

def good(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, classes))

def eleven(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 11))

def dictionary(image_shape, classes):
    return {"weights": 1}

def of_colour(image_shape, classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(classes))

def failing(image_shape, classes):
    raise RuntimeError("the weights are\\nnot here")

def of_its_own(image_shape, classes):
    raise UsageError("weights.pt: no such file")

def without_arguments():
    return good()

class Pair(nn.Module):
    def forward(self, x):
        return x, x

def pair(image_shape, classes):
    return Pair()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "models_of_a_user.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "models_of_a_user", raising=False)
    return "models_of_a_user"


def test_a_users_model_is_built_and_left_in_its_mode(mine: str):
    model = build_model(f"{mine}:good", DIGITS, 10, seed=0)
    assert model.training
    assert model.eval()(torch.zeros(3, *DIGITS)).shape == (3, 10)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            "eleven",
            "{called}: what it returns must answer images [2, 1, 8, 8] with logits [2, 10], answers",
        ),
        ("dictionary", "{called}: must return an nn.Module, returned dict"),
        ("of_colour", "{called}: what it returns fails on images [2, 1, 8, 8]: RuntimeError: Given groups=1"),
        ("failing", "{called}: RuntimeError: the weights are (models_of_a_user.py, line 19)"),
        ("without_arguments", "{called}: TypeError: without_arguments() takes 0 positional"),
        ("pair", "{called}: what it returns must answer with a tensor of logits, answers with tuple"),
        ("missing", "model '{name}': models_of_a_user has no function 'missing'"),
    ],
)
def test_a_users_function_that_breaks_the_contract(mine: str, function: str, words: str):
    with pytest.raises(UsageError) as caught:
        build_model(f"{mine}:{function}", DIGITS, 10, seed=0)
    message = str(caught.value)
    name = f"{mine}:{function}"
    called = f"{name} is called with (image_shape, classes) = ((1, 8, 8), 10)"
    assert message.startswith(words.format(name=name, called=called))
    assert "\n" not in message


def test_a_users_own_usage_error_is_passed_on(mine: str):
    with pytest.raises(UsageError, match=r"^weights\.pt: no such file$"):
        build_model(f"{mine}:of_its_own", DIGITS, 10, seed=0)
