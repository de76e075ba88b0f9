"""Targeted APGD and FAB, several targets in one batch: nine runs of a small batch cost their Python.

Per sample and target they take the same steps as `APGDAttack_targeted.perturb` and `FABAttack.perturb`, which run one
target after another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...norms.base import Norm

# Pixels in a batch from which on a step's time grows with their number: measured on digits with small networks, where
# an image's gradient takes 24 us in a batch of 123, 12 in one of 927 and 11 in larger ones.
PIXELS_AT_ONCE = 2**17


def apgd_at_several(worker: Any, x: Tensor, y: Tensor) -> Tensor:
    """`APGDAttack_targeted.perturb`, but that as many runs share a batch as there is room for.

    Its random starts are others than with one target after another.

    Args:
        worker: pyautoattack's attack.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.

    Returns:
        Adversarial images of the samples that fell, the others as they were.
    """
    worker.init_hyperparam(x)
    torch.manual_seed(worker.seed)
    logits = worker.model(x)
    classes, standing = logits.sort(dim=1)[1], logits.argmax(1) == y
    runs = [rank for rank in range(2, worker.n_target_classes + 2) for _ in range(worker.n_restarts)]
    found = x.clone()
    while runs and standing.any():
        rows = standing.nonzero()[:, 0]
        now, runs = _room(runs, x[rows])
        each = rows.repeat(len(now))
        worker.y_target = torch.cat([classes[rows, -rank] for rank in now])
        _, accurate, _, fooling = worker.attack_single_run(x[each].clone(), y[each].clone())
        _note(found, standing, rows, accurate == 0, fooling)
    return found


@torch.no_grad()
def fab_at_several(worker: Any, x: Tensor, y: Tensor, *, norm: Norm) -> Tensor:
    """`FABAttack.perturb` with targets, but that as many targets share a batch as there is room for.

    The first restart is not random, so that with one restart nothing differs but the order.

    Args:
        worker: pyautoattack's attack, whose `attack_single_run` is `fab_single_run`.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.
        norm: the worker's.

    Returns:
        Adversarial images of the samples that fell, the others as they were.
    """
    torch.manual_seed(worker.seed)
    logits = worker.predict(x)
    classes, standing = logits.sort(dim=1)[1], logits.argmax(1) == y
    found = x.clone()
    for restart in range(worker.n_restarts):
        ranks = list(range(2, worker.n_target_classes + 2))
        while ranks and standing.any():
            rows = standing.nonzero()[:, 0]
            now, ranks = _room(ranks, x[rows])
            each = rows.repeat(len(now))
            aims = torch.cat([classes[rows, -rank] for rank in now])
            ends = worker.attack_single_run(x[each], y[each], aims, random_start=restart > 0)
            fallen = (worker.predict(ends).argmax(1) != y[each]) & (norm.size(ends - x[each]) <= worker.eps)
            _note(found, standing, rows, fallen, ends)
    return found


def _room(runs: list[int], x: Tensor) -> tuple[list[int], list[int]]:
    """The runs of the next batch, at least one, and the rest; evenly divided among as few batches as can be."""
    room = max(1, PIXELS_AT_ONCE // x.numel())
    count = -(-len(runs) // -(-len(runs) // room))
    return runs[:count], runs[count:]


def _note(found: Tensor, standing: Tensor, rows: Tensor, fallen: Tensor, images: Tensor) -> None:
    """Keep for each fallen row what its first successful run ended with; the runs lie one after another."""
    by_run = fallen.view(-1, len(rows))
    some = by_run.any(0).nonzero()[:, 0]
    first = by_run[:, some].int().argmax(0)
    found[rows[some]] = images[first * len(rows) + some]
    standing[rows[some]] = False
