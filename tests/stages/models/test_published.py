"""The architectures against their published sizes, the public code's names, and torchvision's own networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from edgeproof.stages.checkpoint import load_into
from edgeproof.stages.models import build_model
from torch import Tensor, nn

CIFAR = (3, 32, 32)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("resnet50", 23_520_842),
        ("preact_resnet18", 11_171_146),
        ("preact_resnet18_bn", 11_172_170),
        ("wrn_28_10", 36_479_194),
        ("wrn_34_10", 46_160_474),
        ("mobilenet_v2", 2_296_922),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, parameters: int):
    assert size(build_model(name, CIFAR, 10, seed=0)) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"), [("cnn28_wide", 282_122), ("cnn28_small", 18_394), ("mobile_small", 12_218)]
)
def test_small_networks_have_the_size_their_docstring_says(name: str, parameters: int):
    assert size(build_model(name, (1, 28, 28), 10, seed=0)) == parameters


# A few of the names that public checkpoints carry, one of each kind, and how many entries there are: 5 a BatchNorm,
# 1 a convolution, 2 the classifier.
NAMES = {
    "resnet18": (
        6 + 8 * 12 + 3 * 6 + 2,
        {
            "conv1.weight": (64, 3, 3, 3),
            "bn1.running_mean": (64,),
            "layer1.0.conv2.weight": (64, 64, 3, 3),
            "layer2.0.shortcut.0.weight": (128, 64, 1, 1),
            "layer2.0.shortcut.1.weight": (128,),
            "layer4.1.bn2.bias": (512,),
            "linear.weight": (10, 512),
        },
    ),
    "resnet50": (
        6 + 16 * 18 + 4 * 6 + 2,
        {"layer1.0.shortcut.0.weight": (256, 64, 1, 1), "layer4.2.conv3.weight": (2048, 512, 1, 1)},
    ),
    "preact_resnet18": (
        1 + 8 * 12 + 3 + 2,
        {
            "layer1.0.bn1.weight": (64,),
            "layer2.0.bn1.weight": (64,),
            "layer2.0.shortcut.0.weight": (128, 64, 1, 1),
            "linear.bias": (10,),
        },
    ),
    "preact_resnet18_bn": (1 + 8 * 12 + 3 + 5 + 2, {"bn.running_var": (512,)}),
    "wrn_34_10": (
        1 + 15 * 12 + 3 + 5 + 2,
        {
            "conv1.weight": (16, 3, 3, 3),
            "block1.layer.0.convShortcut.weight": (160, 16, 1, 1),
            "block1.layer.4.bn2.weight": (160,),
            "block3.layer.0.conv1.weight": (640, 320, 3, 3),
            "bn1.weight": (640,),
            "fc.weight": (10, 640),
        },
    ),
    "mobilenet_v2": (
        6 + 17 * 18 + 4 * 6 + 6 + 2,
        {
            "layers.0.conv1.weight": (32, 32, 1, 1),
            "layers.0.shortcut.0.weight": (16, 32, 1, 1),
            "layers.1.conv2.weight": (96, 1, 3, 3),
            "layers.16.conv3.weight": (320, 960, 1, 1),
            "conv2.weight": (1280, 320, 1, 1),
            "linear.weight": (10, 1280),
        },
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_public_code(name: str):
    entries, some = NAMES[name]
    found = {key: tuple(value.shape) for key, value in build_model(name, CIFAR, 10, seed=0).state_dict().items()}
    assert {key: found.get(key) for key in some} == some
    assert len(found) == entries


def randomise(model: nn.Module) -> nn.Module:
    """Weights and BatchNorm statistics in which every layer shows in the answer."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return model.eval()


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnets_answer_as_torchvisions_with_the_stem_exchanged(depth: int):
    ours = randomise(build_model(f"resnet{depth}", CIFAR, 10, seed=0))
    theirs = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()  # type: ignore[assignment]
    renamed = {
        key.replace("shortcut", "downsample").replace("linear", "fc"): value for key, value in ours.state_dict().items()
    }
    theirs.load_state_dict(renamed)
    images = torch.rand(2, *CIFAR, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = theirs.eval()(images), ours(images)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max().clamp_min(1)


def norm_relu(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    statistics = (weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return F.relu(F.batch_norm(x, *statistics))


def wrn_as_in_trades(weights: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The forward of github.com/yaodongyu/TRADES/models/wideresnet.py, on weights by name."""
    x = F.conv2d(x, weights["conv1.weight"], padding=1)
    for group, stride in ((1, 1), (2, 2), (3, 2)):
        for number in range(blocks):
            at = f"block{group}.layer.{number}"
            activated = norm_relu(weights, f"{at}.bn1", x)
            step = stride if number == 0 else 1
            out = F.conv2d(activated, weights[f"{at}.conv1.weight"], stride=step, padding=1)
            out = F.conv2d(norm_relu(weights, f"{at}.bn2", out), weights[f"{at}.conv2.weight"], padding=1)
            shortcut = weights.get(f"{at}.convShortcut.weight")
            x = out + (x if shortcut is None else F.conv2d(activated, shortcut, stride=step))
    x = F.avg_pool2d(norm_relu(weights, "bn1", x), 8).flatten(1)
    return F.linear(x, weights["fc.weight"], weights["fc.bias"])


def test_wide_resnets_compute_what_the_names_mean():
    ours = randomise(build_model("wrn_16_2", CIFAR, 10, seed=0))
    images = torch.rand(2, *CIFAR, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = wrn_as_in_trades(ours.state_dict(), images, 2)
        assert torch.allclose(ours(images), expected, atol=1e-5, rtol=1e-5)


def test_preact_resnets_compute_what_the_names_mean():
    """As github.com/locuslab/robust_overfitting/preactresnet.py; kuangliu's has no last BatchNorm."""
    ours = randomise(build_model("preact_resnet18_bn", CIFAR, 10, seed=0))
    weights = ours.state_dict()
    images = torch.rand(2, *CIFAR, generator=torch.Generator().manual_seed(0))
    x = F.conv2d(images, weights["conv1.weight"], padding=1)
    for group, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        for number in (0, 1):
            at, step = f"layer{group}.{number}", stride if number == 0 else 1
            activated = norm_relu(weights, f"{at}.bn1", x)
            out = F.conv2d(activated, weights[f"{at}.conv1.weight"], stride=step, padding=1)
            out = F.conv2d(norm_relu(weights, f"{at}.bn2", out), weights[f"{at}.conv2.weight"], padding=1)
            shortcut = weights.get(f"{at}.shortcut.0.weight")
            x = out + (x if shortcut is None else F.conv2d(activated, shortcut, stride=step))
    for name, last in (("preact_resnet18_bn", norm_relu(weights, "bn", x)), ("preact_resnet18", x)):
        expected = F.linear(F.avg_pool2d(last, 4).flatten(1), weights["linear.weight"], weights["linear.bias"])
        model = build_model(name, CIFAR, 10, seed=0).eval()
        model.load_state_dict({key: value for key, value in weights.items() if key in model.state_dict()})
        with torch.no_grad():
            assert torch.allclose(model(images), expected, atol=1e-5, rtol=1e-5), name


def test_a_trades_checkpoint_loads_without_the_group_that_nobody_runs(tmp_path):
    model = build_model("wrn_10_1", CIFAR, 10, seed=0)
    weights = {**build_model("wrn_10_1", CIFAR, 10, seed=1).state_dict()}
    extra = {f"sub_block1.{key}": value for key, value in weights.items() if key.startswith("layer.")}
    extra["sub_block1.layer.0.conv1.weight"] = torch.zeros(16, 16, 3, 3)
    load_into(model, weights | extra, path=tmp_path / "w.pt", name="wrn_10_1")
    assert torch.equal(model.state_dict()["fc.weight"], weights["fc.weight"])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 40), (2, 64, 64)])
@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "preact_resnet18", "wrn_10_2", "mobilenet_v2", "cnn28_small", "cnn28_wide"]
)
def test_any_channels_size_and_classes_traceable(name: str, shape: tuple[int, int, int]):
    model = build_model(name, shape, 7, seed=0).eval()
    images = torch.rand(2, *shape)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 7)
        assert torch.equal(torch.fx.symbolic_trace(model)(images), logits)


def test_the_seed_decides_the_weights_and_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (build_model("wrn_10_1", CIFAR, 10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.state_dict()["fc.weight"], two.state_dict()["fc.weight"])
    assert not torch.equal(one.state_dict()["fc.weight"], other.state_dict()["fc.weight"])
