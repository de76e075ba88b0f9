"""Checkpoint selection by robust accuracy: PGD on the validation split."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data import Split
from ...threat import ThreatModel
from ..eval_mode import evaluating
from ..inner import InnerMaximisation

_BATCH = 512


def pgd_attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    seed: int,
    part: Callable[[Tensor], Tensor] = lambda rows: rows,
    watch: Callable[[Tensor], None] = lambda logits: None,
) -> Tensor:
    """Return x' found by PGD on the cross-entropy from a seeded uniform start (Madry et al. 2018).

    The model is attacked in eval mode; the caller's random state is left alone.

    Args:
        model: what is attacked.
        x: images in [0, 1], `[N, C, H, W]`.
        y: labels, int64 `[N]`.
        threat: the ball.
        steps: ascent steps.
        seed: of the start.
        part: the rows to attack; the start is drawn for all, so that they can be shared out.
        watch: told the logits of every point on the way, the last one's excepted.
    """
    maximisation = InnerMaximisation(
        threat.geometry, threat.eps, step=2.5 * threat.eps / max(steps, 3), steps=steps, start="uniform"
    )
    with evaluating(model), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        start = part(maximisation.initial(x))
        labels = part(y)

        def objective(x_adv: Tensor) -> Tensor:
            logits = model(x_adv)
            watch(logits.detach())
            return F.cross_entropy(logits, labels, reduction="sum")

        return maximisation.run(objective, part(x), start=start)


def pgd_survivors(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    seed: int,
    every_point: bool = False,
    part: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> tuple[Tensor, Tensor]:
    """Return which rows are classified correctly, clean and under PGD, as booleans `[N]`.

    Arguments as of `pgd_attack`. With `every_point`, an image is lost when any point that PGD visits fools the model,
    not the last one alone: on the steps of a coarsely quantized network the loss falls as often as it rises.
    """
    labels = part(y)
    fooled = torch.zeros_like(labels, dtype=torch.bool)

    def watch(logits: Tensor) -> None:
        fooled.logical_or_(logits.argmax(1) != labels)

    x_adv = pgd_attack(model, x, y, threat, steps=steps, seed=seed, part=part, watch=watch)
    with evaluating(model), torch.no_grad():
        clean = model(part(x)).argmax(1) == labels
        robust = clean & (model(x_adv).argmax(1) == labels)
    return clean, robust & ~fooled if every_point else robust


def pgd_accuracy(
    model: nn.Module,
    split: Split,
    threat: ThreatModel,
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
    part: Callable[[Tensor], Tensor] = lambda rows: rows,
    total: Callable[[Tensor], Tensor] = lambda value: value,
    every_point: bool = False,
) -> tuple[float, float]:
    """Return the fractions of `split` classified correctly (clean, under PGD); see `pgd_survivors`.

    PGD flatters; it serves to compare epochs, and is never reported as robust accuracy. `part` and `total` share the
    work among processes.
    """
    kept = torch.zeros(2, device=device)
    for first in range(0, len(split), _BATCH):
        rows = split.take(slice(first, first + _BATCH))
        x, y = torch.from_numpy(rows.images).to(device), torch.from_numpy(rows.labels).to(device)
        survivors = pgd_survivors(model, x, y, threat, steps=steps, seed=seed, every_point=every_point, part=part)
        kept += torch.stack([mask.sum() for mask in survivors])
    clean_count, robust_count = total(kept).tolist()
    return clean_count / len(split), robust_count / len(split)
