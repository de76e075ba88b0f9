"""Pruning without its training: a network whose layers all show in the answer, and what is cut from it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.models import build_model
from edgeproof.stages.prune import PruneConfig
from edgeproof.stages.prune.architecture import cut_layers
from edgeproof.stages.prune.choice import Choice, choose
from edgeproof.stages.prune.importance import importances
from edgeproof.stages.threat import ThreatModel
from torch import nn

Shape = tuple[int, int, int]


def lively(network: nn.Module) -> nn.Module:
    """BatchNorms that all do something, and no two channels alike; in eval mode."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network.eval()


@dataclass(frozen=True)
class Pruned:
    name: str
    shape: Shape
    whole: nn.Module
    pruned: nn.Module
    choice: Choice


def prune(
    network: nn.Module, shape: Shape, config: PruneConfig, data: Dataset, threat: ThreatModel, name: str = "net"
) -> Pruned:
    """What a round does, but for the training."""
    choice = choose(
        network,
        lambda coupled: importances(network, coupled, config, data.train, threat),
        config,
        turn=1,
        initial={},
        image_shape=shape,
        name=name,
    )
    pruned = copy.deepcopy(network)
    cut_layers(pruned, choice.cuts)
    return Pruned(name, shape, network, pruned, choice)


@pytest.fixture(scope="session")
def small(digits: Dataset) -> Dataset:
    rows = slice(0, 256)
    return replace(digits, train=digits.train.take(rows), validation=digits.validation.take(slice(0, 100)))


@pytest.fixture(scope="session")
def by_name(digits: Dataset, threat: ThreatModel) -> Callable[..., Pruned]:
    """A registered model, a part of its channels cut; magnitude asks nothing of the images."""

    def make(name: str, shape: Shape, **settings: object) -> Pruned:
        config = PruneConfig.model_validate({"ratio": 0.5, "importance": "magnitude_l2"} | settings)
        return prune(lively(build_model(name, shape, 10, seed=0)), shape, config, digits, threat, name)

    return make
