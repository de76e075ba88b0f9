"""What every method promises: a frozen teacher that gradients pass through, and clean BatchNorm in attacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from edgeproof.core.errors import UsageError
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.distill.augment import random_shift
from edgeproof.stages.distill.losses import kl
from edgeproof.stages.distill.method import Method, methods
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.distill.plugin import plugins
from edgeproof.stages.norms.base import norms
from torch import nn

INNER = InnerMaximisation(norms["Linf"], 0.1, 0.025, 5)


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    return torch.rand(6, 1, 5, 5), torch.randint(0, 3, (6,))


@pytest.fixture
def pair(batch) -> tuple[nn.Module, nn.Module]:
    student, teacher = model(0), model(1)
    student(batch[0]), teacher(batch[0])
    return student, teacher


def make(name: str, student: nn.Module, teacher: nn.Module, *chosen: str, **options: object) -> Method[Any]:
    """A method with whatever networks it needs."""
    method_class = methods[name]
    config = method_class.Config.model_validate(options)
    networks = {"teacher": teacher, "natural_teacher": model(2), "peer": model(3)}
    for network in networks.values():
        network(torch.rand(6, 1, 5, 5))
    modified = [plugins[plugin](plugins[plugin].Config()) for plugin in chosen]
    needed = {key: networks[key] for key in method_class.needs(config)}
    return method_class(config, student, **needed, plugins=modified)


@pytest.mark.parametrize("name", methods.names())
def test_the_attack_leaves_batchnorm_and_training_mode_alone(name: str, pair, batch):
    student, teacher = pair
    method = make(name, student, teacher)
    seen: list[torch.Tensor] = []
    outer = method.outer

    def watching(x, x_adv, y):
        seen.append(student[1].running_mean.clone())  # as the outer step finds it
        assert student.training
        return outer(x, x_adv, y)

    method.outer = watching
    before = student[1].running_mean.clone()
    method.step(*batch, INNER)
    assert torch.equal(seen[0], before)
    assert all(parameter.requires_grad for parameter in student.parameters())
    if "teacher" in method.needs(method.config):
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        assert not teacher.training


@pytest.mark.parametrize("name", ["ard", "akd2", "iad", "iad2"])
def test_the_authors_attack_in_train_mode_is_official_only(name: str, pair, batch):
    student, teacher = pair
    for official, forwards in ((False, 0), (True, INNER.steps)):
        method = make(name, student, teacher, official=official)
        before = int(student[1].num_batches_tracked)
        method.attack(*batch, INNER)
        assert int(student[1].num_batches_tracked) - before == forwards


# The official forms of the others compute something else: a leaked gradient, an attack in train mode, or (MTARD)
# weights from slightly different values.
SAME_GRADIENT = sorted(set(methods.names()) - {"peeraid", "mtard", "ard", "akd2", "iad", "iad2"})


@pytest.mark.parametrize("name", SAME_GRADIENT)
def test_official_changes_no_gradient_that_it_should_not(name: str, batch):
    """Where the authors' departures are side effects, both forms move the student alike."""
    gradients = []
    start = batch[0] + 0.001 * torch.randn_like(batch[0])
    for official in (False, True):
        student, teacher = model(0), model(1)
        student(batch[0]), teacher(batch[0])
        method = make(name, student, teacher, official=official)
        method.begin_epoch(200, 200)
        loss, _ = method.step(*batch, INNER, start=start)
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("plugin", plugins.names())
@pytest.mark.parametrize(
    "name", [name for name in methods.names() if "teacher" in methods[name].needs(methods[name].Config())]
)
def test_every_plugin_goes_on_every_method_that_has_a_teacher(name: str, plugin: str, pair, batch):
    method = make(name, *pair, plugin)
    method.begin_epoch(1, 2)
    loss, x_adv = method.step(*batch, INNER)
    loss.backward()
    method.end_epoch()
    method.begin_epoch(2, 2)
    again, _ = method.step(*batch, INNER)
    assert torch.isfinite(loss)
    assert torch.isfinite(again)
    assert float((x_adv - batch[0]).abs().max()) <= INNER.eps + 1e-6


def test_the_teacher_is_not_detached_in_the_inner_maximisation(pair, batch):
    """Detaching it would silently be another method."""
    student, teacher = pair
    x = batch[0].clone().requires_grad_()
    objective = AdaAD(AdaADConfig(), student.eval(), teacher).inner(*batch)
    (ours,) = torch.autograd.grad(objective(x), x)
    (detached,) = torch.autograd.grad(kl(teacher(x).detach(), student(x)).sum(), x)
    assert not torch.allclose(ours, detached)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_kl_is_the_sum_it_says(temperature: float):
    torch.manual_seed(0)
    target, prediction = torch.randn(5, 4), torch.randn(5, 4)
    p, q = F.softmax(target / temperature, 1), F.softmax(prediction / temperature, 1)
    assert torch.allclose(kl(target, prediction, temperature=temperature), (p * (p / q).log()).sum(1), atol=1e-6)


def test_the_two_scales_differ_by_the_number_of_classes():
    target, prediction = torch.randn(8, 10), torch.randn(8, 10)
    assert torch.allclose(kl(target, prediction), 10 * kl(target, prediction, scale="mean"))


def test_a_distillation_method_needs_a_teacher(pair, batch):
    with pytest.raises(UsageError, match="AdaAD needs a teacher"):
        AdaAD(AdaADConfig(), pair[0]).step(*batch, INNER)


def test_random_shift_moves_whole_images():
    torch.manual_seed(0)
    images = torch.rand(50, 2, 6, 6)
    shifted = random_shift(images, 1)
    padded = F.pad(images, (1, 1, 1, 1))
    places = [(row, column) for row in range(3) for column in range(3)]
    found = [
        next((p for p in places if torch.equal(shifted[i], padded[i, :, p[0] : p[0] + 6, p[1] : p[1] + 6])), None)
        for i in range(50)
    ]
    assert None not in found
    assert len(set(found)) > 5
