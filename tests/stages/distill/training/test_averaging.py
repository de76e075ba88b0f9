"""Averaged weights: the arithmetic against closed forms, BatchNorm statistics against activations."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from edgeproof.core.errors import StageError
from edgeproof.stages.distill.training.averaging import Averaging, WeightAverage
from pydantic import ValidationError
from torch import Tensor, nn


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 3)).double()


def walk(network: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """Weights at every step of a random walk."""
    walked = []
    for _ in range(steps):
        network = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        walked.append(network)
    return walked


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_ema_is_the_weighted_sum(decay: float):
    networks = walk(model(), 6)
    average = WeightAverage(networks[0], Averaging(kind="ema", decay=decay))
    for network in networks:
        average.update(network)
    decays = [min(decay, (1 + t) / (10 + t)) for t in range(6)]
    shares = [(1 - decays[t] if t else 1.0) * math.prod(decays[t + 1 :]) for t in range(6)]
    assert sum(shares) == pytest.approx(1)
    for name, value in weights(average.module).items():
        expected = sum(share * weights(network)[name] for share, network in zip(shares, networks, strict=True))
        assert torch.allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_a_short_ema_does_not_remember_the_first_weights():
    """With decay 0.999 alone, 0.95 of the average of 50 steps would be the first weights."""
    network = nn.Linear(1, 1, bias=False).double()
    average = WeightAverage(network, Averaging(kind="ema"))
    for step in range(50):
        nn.init.constant_(network.weight, 1.0 if step == 0 else 0.0)
        average.update(network)
    assert float(average.module.weight) < 1e-6


def test_swa_is_the_mean():
    networks = walk(model(), 7)
    average = WeightAverage(networks[0], Averaging(kind="swa", decay=0.1))
    for network in networks:
        average.update(network)
    for name, value in weights(average.module).items():
        assert torch.allclose(value, torch.stack([weights(network)[name] for network in networks]).mean(dim=0))


def test_the_average_is_a_model_apart():
    network = model()
    F.cross_entropy(network(torch.rand(5, 2, 5, 5).double()), torch.zeros(5, dtype=torch.long)).backward()
    before, gradient = weights(network), network[0].weight.grad.clone()
    average = WeightAverage(network, Averaging(kind="swa"))
    assert not average.begun
    average.update(network)
    average.update(walk(network, 1)[0])
    assert average.begun
    assert network.training
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert all(parameter.grad is None for parameter in average.module.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(network[0].weight.grad, gradient)
    assert all(torch.equal(value, before[name]) for name, value in weights(network).items())


def test_a_wrapped_model_updates_the_bare_one():
    networks = walk(model(), 2)
    bare, wrapped = (WeightAverage(networks[0], Averaging(kind="ema")) for _ in range(2))
    for network in networks:
        bare.update(network)
        wrapped.update(nn.DataParallel(network))
    assert all(torch.equal(value, weights(wrapped.module)[name]) for name, value in weights(bare.module).items())


def test_batchnorm_statistics_are_those_of_the_averaged_models_activations():
    networks = walk(model(), 3)
    average = WeightAverage(networks[0], Averaging(kind="swa"))
    for network in networks:
        network(torch.rand(16, 2, 5, 5).double())  # moves the statistics of the network itself
        average.update(network)
    batches = [torch.rand(size, 2, 5, 5).double() for size in (16, 16, 7)]
    average.recompute_statistics(iter(batches))

    first, second = average.module[0], average.module[3]
    found: list[list[Tensor]] = [[], []]
    for batch in batches:
        hidden = F.conv2d(batch, first.weight)
        found[0].append(hidden)
        mean, variance = hidden.mean(dim=(0, 2, 3)), hidden.var(dim=(0, 2, 3), unbiased=False)
        normal = (hidden - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        scaled = normal * average.module[1].weight[:, None, None] + average.module[1].bias[:, None, None]
        found[1].append(F.conv2d(scaled.relu(), second.weight, second.bias))
    for layer, activations in zip((average.module[1], average.module[4]), found, strict=True):
        means = torch.stack([value.mean(dim=(0, 2, 3)) for value in activations])
        variances = torch.stack([value.var(dim=(0, 2, 3)) for value in activations])
        assert torch.allclose(layer.running_mean, means.mean(dim=0))
        assert torch.allclose(layer.running_var, variances.mean(dim=0))
        assert layer.momentum == 0.1
        assert int(layer.num_batches_tracked) == 3
    assert not average.module.training


def test_without_batchnorm_no_batch_is_asked_for():
    average = WeightAverage(nn.Linear(2, 2), Averaging(kind="swa"))

    def batches():
        raise AssertionError("asked")
        yield

    average.recompute_statistics(batches())


def test_no_batches_at_all():
    average = WeightAverage(model(), Averaging(kind="swa"))
    with pytest.raises(StageError, match="at least one batch"):
        average.recompute_statistics([])


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_resumed_average_is_bit_equal(kind: str, tmp_path):
    networks = walk(model().float(), 8)
    config = Averaging.model_validate({"kind": kind})
    whole = WeightAverage(networks[0], config)
    for network in networks:
        whole.update(network)
    killed = WeightAverage(networks[0], config)
    for network in networks[:4]:
        killed.update(network)
    torch.save(killed.state_dict(), tmp_path / "state.pt")
    resumed = WeightAverage(model(seed=9).float(), config)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.begun
    for network in networks[4:]:
        resumed.update(network)
    expected = whole.state_dict()
    assert resumed.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_when_it_is_updated():
    assert Averaging(kind="ema").every == "step"
    assert Averaging(kind="swa").every == "epoch"
    assert Averaging().kind == "none"
    with pytest.raises(ValueError, match="no average of kind 'none'"):
        WeightAverage(model(), Averaging())


@pytest.mark.parametrize("settings", [{"kind": "mean"}, {"decay": 1}, {"decay": -0.1}, {"start": 1}, {"stop": 0.5}])
def test_bad_settings(settings: dict):
    with pytest.raises(ValidationError):
        Averaging.model_validate(settings)
