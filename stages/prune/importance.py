"""Channel importance: how much a network needs each of its channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Split
from ..distill.training.selection import pgd_attack
from ..threat import ThreatModel
from .config import PruneConfig
from .coupling import Coupled, library

_BATCH = 128


def importances(
    network: nn.Module, coupled: Sequence[Coupled], config: PruneConfig, train: Split, threat: ThreatModel
) -> list[list[float]]:
    """Return the importance of every unit of coupled channels, relative to the mean of its coupling.

    Magnitude: the sum of |w|^p over the weights that the channel takes part in, as outputs, as inputs and in
    BatchNorm (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, for groups as of DepGraph, arXiv
    2301.12900). Taylor: the sum of |w · dL/dw| over the same weights but for BatchNorm's (Molchanov et al.,
    "Importance Estimation for Neural Network Pruning", CVPR 2019); L is the cross-entropy at x', which PGD finds on a
    sample of the training split: channels count by what they do for the robust loss, not for the clean one.

    Args:
        network: in which the channels are; its parameters require gradients, which are spent.
        coupled: the channels.
        config: the measure, the sample and its seed.
        train: the training split, images in [0, 1].
        threat: the ball.
    """
    measures = library().importance
    if config.importance == "taylor":
        _collect_gradients(network, config, train, threat)
        measure = measures.GroupTaylorImportance()
    else:
        measure = measures.GroupMagnitudeImportance(p=2 if config.importance == "magnitude_l2" else 1)
    found = [_by_unit(measure(each.group), each) for each in coupled]
    network.zero_grad(set_to_none=True)
    return found


def sample(train: Split, count: int, seed: int) -> Split:
    """Draw the seeded sample, without replacement, from the training split."""
    return train.take(np.random.default_rng(seed).choice(len(train), min(count, len(train)), replace=False))


def _collect_gradients(network: nn.Module, config: PruneConfig, train: Split, threat: ThreatModel) -> None:
    """Leave the gradient of the summed adversarial loss in the parameters, the network in eval mode."""
    seed, steps = config.train.seed, config.train.selection_steps
    split = sample(train, config.samples, seed)
    device = next(network.parameters()).device
    network.eval().zero_grad(set_to_none=True)
    for first in range(0, len(split), _BATCH):
        rows = split.take(slice(first, first + _BATCH))
        x, y = torch.from_numpy(rows.images).to(device), torch.from_numpy(rows.labels).to(device)
        x_adv = pgd_attack(network, x, y, threat, steps=steps, seed=seed + first)
        with torch.enable_grad():
            F.cross_entropy(network(x_adv), y, reduction="sum").backward()


def _by_unit(scores: Tensor, coupled: Coupled) -> list[float]:
    # Relative to a mean of zero, where a layer does nothing at all, none is more important than another.
    return scores.detach().cpu().nan_to_num().view(coupled.chunks, coupled.units).mean(0).tolist()
