"""Adversarial weight perturbation: against the official formula on a proxy model, and exact restoration."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from edgeproof.stages.distill.training.awp import AwpConfig, frozen_statistics, perturbed
from pydantic import ValidationError
from torch import Tensor, nn


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)]
    return nn.Sequential(*layers)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.rand(12, 1, 5, 5), torch.randint(0, 3, (12,))


def loss_of(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(network(batch[0]), batch[1])


def parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def official(network: nn.Module, batch: tuple[Tensor, Tensor], gamma: float, rate: float) -> dict[str, Tensor]:
    """The perturbed weights as the authors compute them: one SGD step of a proxy, its difference rescaled."""
    proxy = copy.deepcopy(network).train()
    optimiser = torch.optim.SGD(proxy.parameters(), lr=rate)
    optimiser.zero_grad()
    (-loss_of(proxy, batch)).backward()
    optimiser.step()
    old, new = network.state_dict(), proxy.state_dict()
    moved = parameters(network)
    for name in moved:
        if old[name].dim() > 1 and "weight" in name:
            difference = new[name] - old[name]
            moved[name] = old[name] + gamma * old[name].norm() / (difference.norm() + 1e-20) * difference
    return moved


@pytest.mark.parametrize("gamma", [0.005, 0.1])
@pytest.mark.parametrize("rate", [0.1, 3.0])
def test_the_perturbation_is_the_official_one_whatever_the_proxys_rate(batch, gamma: float, rate: float):
    network, batch = model().double(), (batch[0].double(), batch[1])
    expected = official(network, batch, gamma, rate)
    with frozen_statistics(network):
        loss_of(network, batch).backward()
    before = parameters(network)
    with perturbed(network, gamma):
        for name, value in network.named_parameters():
            assert torch.allclose(value, expected[name], rtol=1e-9, atol=1e-12), name
            share = gamma if value.dim() > 1 else 0.0
            assert torch.allclose((value - before[name]).norm(), share * before[name].norm(), rtol=1e-9), name


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_rises(batch, seed: int):
    network = model(seed)
    with frozen_statistics(network):
        loss = loss_of(network, batch)
        loss.backward()
        with perturbed(network, 0.005):
            assert loss_of(network, batch) > loss


def test_weights_come_back_bit_equal_with_the_gradient_at_the_perturbed_ones(batch):
    network = model()
    before = parameters(network)
    for _ in range(20):
        loss_of(network, batch).backward()
        twin = copy.deepcopy(network)
        with perturbed(network, 0.01):
            assert all(parameter.grad is None for parameter in network.parameters())
            twin.load_state_dict(network.state_dict())
            loss_of(network, batch).backward()
        assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
        twin.zero_grad()
        loss_of(twin, batch).backward()
        for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.equal(mine.grad, other.grad)


def test_one_training_step_is_the_official_one_up_to_the_decay_of_the_perturbation(batch):
    """Officially: perturb, step, take the perturbation back. Without weight decay the same; with it, w + v decays."""
    batch = batch[0].double(), batch[1]
    for decay in (0.0, 0.1):
        ours, theirs = model().double(), model().double()
        start, moved = parameters(ours), official(theirs, batch, 0.01, 0.1)
        optimiser = torch.optim.SGD(ours.parameters(), lr=0.5, weight_decay=decay)
        with frozen_statistics(ours):
            loss_of(ours, batch).backward()
        with perturbed(ours, 0.01):
            loss_of(ours, batch).backward()
        optimiser.step()

        theirs.load_state_dict(moved, strict=False)
        optimiser = torch.optim.SGD(theirs.parameters(), lr=0.5, weight_decay=decay)
        loss_of(theirs, batch).backward()
        optimiser.step()
        for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            perturbation = moved[name] - start[name]
            restored = other - perturbation
            assert torch.allclose(mine, restored + 0.5 * decay * perturbation, rtol=1e-8, atol=1e-11), name
        for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
            assert torch.equal(mine, other) or torch.allclose(mine, other)  # updated once, by the perturbed forward


def test_an_exception_leaves_the_weights_as_they_were(batch):
    network = model()
    before = parameters(network)
    loss_of(network, batch).backward()
    with pytest.raises(KeyError), perturbed(network, 0.1):
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_weights_without_a_gradient_or_with_a_zero_one_stay(batch):
    network = model()
    network[4].requires_grad_(False)
    loss_of(network, batch).backward()
    network[0].weight.grad.zero_()
    before = parameters(network)
    with perturbed(network, 0.1):
        assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_frozen_statistics_stay_bit_equal_while_the_batchs_are_used(batch):
    network, free = model(), model()
    before = {name: value.clone() for name, value in network.named_buffers()}
    with frozen_statistics(network):
        logits = network(batch[0])
        logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert torch.equal(logits, free(batch[0]))  # those of train mode
    assert not torch.equal(free[1].running_mean, before["1.running_mean"])
    network(batch[0])  # and afterwards they move again
    assert torch.equal(network[1].running_mean, free[1].running_mean)
    assert int(network[1].num_batches_tracked) == 1


def test_frozen_statistics_leave_eval_mode_alone(batch):
    network = model()
    network(batch[0])
    network.eval()
    expected = network(batch[0])
    with frozen_statistics(network):
        assert torch.equal(network(batch[0]), expected)


def test_frozen_statistics_end_with_an_exception_and_leave_untracked_layers_untracked(batch):
    network = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, track_running_stats=False))
    with pytest.raises(KeyError), frozen_statistics(network):
        raise KeyError
    assert network[0].track_running_stats
    assert not network[1].track_running_stats
    network(batch[0])
    assert int(network[0].num_batches_tracked) == 1


@pytest.mark.parametrize("settings", [{"gamma": 0}, {"gamma": -0.1}, {"start": 1}, {"start": -0.5}, {"eta": 1}])
def test_bad_settings(settings: dict):
    with pytest.raises(ValidationError):
        AwpConfig.model_validate(settings)
