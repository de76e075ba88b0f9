"""The cheap robust accuracy by which checkpoints are chosen: PGD on the validation split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Split
from ..threat import ThreatModel
from .inner import InnerMaximisation
from .view import evaluating


def pgd_attack(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, steps: int, seed: int) -> Tensor:
    """Return x' found by PGD on the cross-entropy from a seeded uniform start (Madry et al. 2018).

    The model is attacked in eval mode; the caller's random state is left alone.
    """
    maximisation = InnerMaximisation(
        threat.norm, threat.eps, step=2.5 * threat.eps / max(steps, 3), steps=steps, start="uniform"
    )
    with evaluating(model), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        return maximisation.run(lambda x_adv: F.cross_entropy(model(x_adv), y, reduction="sum"), x)


def pgd_accuracy(
    model: nn.Module,
    split: Split,
    threat: ThreatModel,
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
    batch_size: int = 512,
) -> tuple[float, float]:
    """Return the fractions of `split` classified correctly (clean, under PGD).

    PGD flatters; it serves to compare epochs, and is never reported as robust accuracy.
    """
    clean = robust = 0
    for first in range(0, len(split), batch_size):
        part = split.take(slice(first, first + batch_size))
        x, y = torch.from_numpy(part.images).to(device), torch.from_numpy(part.labels).to(device)
        x_adv = pgd_attack(model, x, y, threat, steps=steps, seed=seed)
        with evaluating(model), torch.no_grad():
            kept = model(x).argmax(1) == y
            clean += int(kept.sum())
            robust += int((kept & (model(x_adv).argmax(1) == y)).sum())
    return clean / len(split), robust / len(split)
