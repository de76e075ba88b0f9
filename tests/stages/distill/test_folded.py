"""Fast stand-ins: what the network itself answers in eval mode, and the gradients that its own operators give."""

from __future__ import annotations

import copy
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from edgeproof.core.errors import UsageError
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.distill.folded import FoldedCopy
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.kernels import StridedDepthwiseConv2d, ThinConv2d, spare_slow_gradients
from edgeproof.stages.models import build_model
from edgeproof.stages.norms.base import norms
from torch import Tensor, nn
from torchvision import models as torchvision_models


def tiny() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5, affine=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 5, 3, stride=2, groups=5, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(5 * 14 * 14, 4),
    )


class Awkward(nn.Module):
    """Convolutions that must not be folded: read twice, run twice, followed by other norms, tied."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice = nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.run_twice = nn.Conv2d(4, 4, 3, padding=1)
        self.third, self.fourth = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.tied, self.tie = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.tie.weight = self.tied.weight
        self.fifth = nn.BatchNorm2d(4)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.read_twice(x - self.mean)
        out = self.first(out) * torch.sigmoid(self.second(out))
        out = self.fourth(self.run_twice(torch.tanh(self.third(self.run_twice(out)))))
        return self.head((self.fifth(self.tied(out)) + self.tie(out)).mean((2, 3)))


class Branching(nn.Module):
    """What torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x if x.mean() > 0.25 else x + 0.5)


SMALL, LARGE = (3, 32, 32), (3, 64, 64)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], int]] = {
    "cnn8": (lambda: build_model("cnn8_wide", (1, 8, 8), 10, seed=0), (1, 8, 8), 3),
    "cnn28": (lambda: build_model("cnn28_small", (1, 28, 28), 10, seed=0), (1, 28, 28), 4),
    "mobile_small": (lambda: build_model("mobile_small", (1, 28, 28), 10, seed=0), (1, 28, 28), 9),
    "tiny": (tiny, SMALL, 2),
    "awkward": (Awkward, SMALL, 1),
    "branching": (Branching, SMALL, 0),
    "wrn_16_2": (lambda: build_model("wrn_16_2", SMALL, 10, seed=0), SMALL, 7),
    "torchvision resnet18": (torchvision_models.resnet18, SMALL, 20),
    "torchvision mobilenet_v2": (torchvision_models.mobilenet_v2, LARGE, 52),
}


def make(name: str) -> tuple[nn.Module, Tensor]:
    """A network in train mode whose BatchNorms all do something, and images."""
    torch.manual_seed(0)
    model, x = NETWORKS[name][0](), torch.rand(8, *NETWORKS[name][1])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        model.train()(x)
    return model, x


def ask(model: nn.Module, x: Tensor, *, autocast: bool = False) -> tuple[Tensor, Tensor]:
    """Logits, and the input gradient of a random sum of them."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(x)
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad((logits * torch.randn_like(logits)).sum(), x)
    return logits.detach(), gradient


def apart(found: Tensor, expected: Tensor) -> float:
    """The relative error of the median sample: a ReLU on its kink may turn either way in a few."""
    found, expected = found.flatten(1), expected.flatten(1)
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).median())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_as_the_network_in_eval_mode(name: str, channels_last: bool):
    model, x = make(name)
    fast = FoldedCopy(model, channels_last=channels_last)
    assert fast.folded == NETWORKS[name][2]
    assert (fast.obstacle is None) == (name != "branching")
    for found, expected in zip(ask(fast, x), ask(copy.deepcopy(model).eval(), x), strict=True):
        assert apart(found, expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_refresh_takes_over_what_the_network_has_learnt(name: str, dtype: torch.dtype):
    model, x = make(name)
    fast = FoldedCopy(model, dtype=dtype)
    before = fast(x)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(1 - x) ** 2).mean().backward()
    optimiser.step()
    assert torch.equal(fast(x), before), "its weights are its own"
    fast.refresh()
    assert not torch.equal(fast(x), before)
    found, anew = ask(fast, x), ask(FoldedCopy(model, dtype=dtype), x)
    assert all(torch.equal(one, other) for one, other in zip(found, anew, strict=True))
    if dtype == torch.float32:
        for one, expected in zip(found, ask(copy.deepcopy(model).eval(), x), strict=True):
            assert apart(one, expected) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_itself_is_never_touched(name: str):
    model, x = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layouts = [parameter.stride() for parameter in model.parameters()]
    modules = dict(model.named_modules())
    fast = FoldedCopy(model, dtype=torch.bfloat16)
    ask(fast, x)
    fast.refresh()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [parameter.stride() for parameter in model.parameters()] == layouts
    assert dict(model.named_modules()) == modules
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    theirs = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert theirs.isdisjoint(tensor.data_ptr() for tensor in fast.state_dict().values())


def test_it_has_no_other_mode_and_no_weights_that_learn(student: Classifier):
    fast = FoldedCopy(student.load().train()).train()
    assert not any(module.training for module in fast.modules())
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near_and_answers_in_float32(name: str):
    model, x = make(name)
    fast = FoldedCopy(model, dtype=torch.bfloat16)
    (logits, gradient), (expected, slope) = ask(fast, x), ask(copy.deepcopy(model).eval(), x)
    assert logits.dtype == gradient.dtype == torch.float32
    assert 0 < apart(logits, expected) < 0.03
    assert float((gradient.sign() == slope.sign()).float().mean()) > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_around_it_changes_nothing(dtype: torch.dtype):
    model, x = make("torchvision resnet18")
    fast = FoldedCopy(model, dtype=dtype)
    found, expected = ask(fast, x, autocast=True), ask(fast, x)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_another_dtype_is_refused(student: Classifier):
    with pytest.raises(UsageError, match=r"float16"):
        FoldedCopy(student.load(), dtype=torch.float16)


def test_hooks_are_not_traced_away():
    model, x = make("tiny")
    model.register_forward_hook(lambda module, arguments, answer: 2 * answer)
    model[1].register_forward_hook(lambda module, arguments, answer: answer + 1)
    fast = FoldedCopy(model)
    assert fast.obstacle == "it has forward hooks"
    whole = FoldedCopy(nn.Sequential(*model))
    assert whole.folded == 1  # the second pair
    expected = copy.deepcopy(model).eval()(x)
    assert torch.allclose(fast(x), expected, atol=1e-5)
    assert torch.allclose(2 * whole(x), expected, atol=1e-5)


def test_an_attack_through_bfloat16_is_as_strong(student: Classifier, digits: Dataset):
    """Judged by the float32 model itself, from the same starts."""
    model = student.load()
    x, y = torch.from_numpy(digits.validation.images), torch.from_numpy(digits.validation.labels)
    reached = []
    for seen in (model, FoldedCopy(model, dtype=torch.bfloat16)):
        torch.manual_seed(0)
        attack = InnerMaximisation(norms["Linf"], 0.1, 0.025, 10, "uniform")
        x_adv = attack.run(lambda z, seen=seen: F.cross_entropy(seen(z), y, reduction="sum"), x)
        with torch.no_grad():
            reached.append(float(F.cross_entropy(model(x_adv), y)))
    clean = float(F.cross_entropy(model(x), y))
    assert reached[0] > 5 * clean
    assert reached[1] == pytest.approx(reached[0], rel=0.02)


def test_a_method_attacks_through_the_views(student: Classifier, digits: Dataset):
    """Both networks replaced: x' raises AdaAD's objective on the plain networks as far."""
    x, y = torch.from_numpy(digits.validation.images), torch.from_numpy(digits.validation.labels)
    torch.manual_seed(0)
    learner, teacher = student.load(), student.load()
    for parameter in teacher.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    inner = InnerMaximisation(norms["Linf"], 0.1, 0.025, 10, "none")
    plain = AdaAD(AdaADConfig(), learner, teacher)
    ours = AdaAD(AdaADConfig(), learner, FoldedCopy(teacher, dtype=torch.bfloat16))
    objective = plain.inner(x, y)
    reached = [
        float(objective(method.attack(x, y, inner, view=view)))
        for method, view in ((plain, None), (ours, FoldedCopy(learner, dtype=torch.bfloat16)))
    ]
    assert reached[0] > 2 * float(objective(x))
    assert reached[1] == pytest.approx(reached[0], rel=0.02)


@pytest.mark.parametrize(("channels", "size", "padding"), [(1, 3, 1), (3, 3, 1), (3, 5, 0), (2, (3, 5), (2, 1))])
def test_the_thin_convolution_has_torchs_gradient(channels, size, padding):
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 6, size, padding=padding).double().requires_grad_(False)
    model = nn.Sequential(copy.deepcopy(plain))
    spare_slow_gradients(model, learns=False)
    assert type(model[0]) is ThinConv2d
    x = torch.rand(3, channels, 9, 8, dtype=torch.float64)
    for found, expected in zip(ask(model, x), ask(plain, x), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "multiplier", "shape"),
    [(3, 2, 1, 1, (9, 9)), (5, 2, 2, 1, (8, 11)), (3, 3, 0, 2, (10, 12)), ((3, 5), (2, 1), (1, 2), 1, (7, 7))],
)
def test_the_strided_depthwise_convolution_has_torchs_gradients(size, stride, padding, multiplier, shape):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4 * multiplier, size, stride=stride, padding=padding, groups=4)
    model = nn.Sequential(copy.deepcopy(plain))
    spare_slow_gradients(model, learns=True)
    assert type(model[0]) is StridedDepthwiseConv2d
    assert model.state_dict().keys() == {"0.weight", "0.bias"}
    x = torch.randn(3, 4, *shape)
    found, expected = [], []
    for network, gradients, around in (
        (model, found, torch.autocast("cpu", torch.bfloat16)),
        (plain, expected, torch.autocast("cpu", enabled=False)),
    ):
        z = x.clone().requires_grad_()
        with around:
            answer = network(z)
        torch.manual_seed(1)
        direction = torch.randn(answer.shape).to(answer.dtype)
        gradients += [answer.detach(), *torch.autograd.grad(answer, [z, *network.parameters()], direction)]
        assert all(gradient.dtype == torch.float32 for gradient in gradients[1:])
    assert found[0].dtype == torch.bfloat16
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.01


def test_only_the_convolutions_that_are_slow_are_replaced():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, groups=2),
        nn.Conv2d(8, 8, 3, stride=2, groups=8, padding_mode="reflect", padding=1),
        nn.Conv2d(3, 8, 3, stride=2),
    )
    spare_slow_gradients(model, learns=True)
    assert {type(module) for module in model} == {nn.Conv2d}
    spare_slow_gradients(model, learns=False)
    assert [type(module) is nn.Conv2d for module in model] == [False, True, True, True, True]


FAULTS = """
import resource, torch
from edgeproof.core.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(2**22).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
default = faults()
assert keep_freed_memory()
faults()
print(default, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept():
    answer = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    default, kept = map(int, answer.split())
    assert kept < default / 20, (default, kept)


@pytest.mark.slow
def test_compiled_it_answers_the_same():
    """One block: each kind of layer costs seconds of a C++ compiler, and how layers fold is seen above."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).train()
    x = torch.rand(4, 1, 8, 8)
    model(x)
    for found, expected in zip(ask(FoldedCopy(model, compiled=True), x), ask(FoldedCopy(model), x), strict=True):
        assert apart(found, expected) < 1e-5
