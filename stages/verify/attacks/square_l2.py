"""Square Attack, L2, for images of every size.

Source: Andriushchenko et al., "Square Attack", ECCV 2020 (arXiv 1912.00049), algorithms 1 and 3, with the schedule and
the order of random numbers of pyautoattack's `SquareAttack.attack_single_run`: where that one runs, the same image to
the last bit. It begins with tiles of a fifth of the height, as many as fit side by side from the corner, and puts the
first of them off it: on 24x24 or 64x48 images the last ones stick out, where it raises. Below five pixels a tile has
none. Here the tiles end where the image does, and have a pixel at least.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_TINY = 1e-12


@torch.no_grad()
def square_l2_single_run(worker: Any, x: Tensor, y: Tensor) -> tuple[None, Tensor]:
    """`SquareAttack.attack_single_run` for L2.

    Args:
        worker: pyautoattack's attack, whose schedule, patterns and random numbers are used.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.

    Returns:
        None, where pyautoattack returns the number of queries, and the images with the least margins.
    """
    channels, height, width = x.shape[1:]
    best = (x + worker.normalize(_tiles(worker, x)) * worker.eps).clamp(0, 1)
    margins, losses = worker.margin_and_loss(best, y)
    for query in range(worker.n_queries):
        rows = (margins > 0).nonzero().flatten()
        if not len(rows):
            break
        clean, before = x[rows], best[rows]
        delta = before - clean
        side = max(round(math.sqrt(worker.p_selection(query) * x[0].numel() / channels)), 3)
        side = min(side + (side % 2 == 0), height, width)
        to, source = (_window(worker, height, width, side) for _ in range(2))
        # The norm in two windows goes into one of them, with what the ball has left.
        both = torch.zeros_like(clean)
        both[to] = both[source] = 1
        size = worker.lp_norm(delta)
        left = (torch.full_like(size, worker.eps) ** 2 - size**2).clamp(min=0)
        budget = (left / channels + _norms(delta * both) ** 2).sqrt()
        pattern = delta[to] / (_TINY + _norms(delta[to]))
        # In place: what lies on its side in memory is summed in another order.
        pattern += worker.eta(side).view(1, 1, side, side) * worker.random_choice([len(rows), channels, 1, 1])
        pattern = pattern / (_TINY + _norms(pattern)) * budget
        delta[source] = 0
        delta[to] = pattern
        images = (clean + worker.normalize(delta) * worker.eps).clamp(0, 1)
        found, loss = worker.margin_and_loss(images, y[rows])
        lower = loss < losses[rows]
        better = lower | (found <= 0)
        losses[rows] = torch.where(lower, loss, losses[rows])
        margins[rows] = torch.where(better, found, margins[rows])
        best[rows] = torch.where(better.view(-1, 1, 1, 1), images, before)
    return None, best


def _tiles(worker: Any, x: Tensor) -> Tensor:
    """What the attack begins with: the pattern in tiles, each of a random sign."""
    height, width = x.shape[2:]
    side = max(height // 5, 1)
    first = max((height - side * 5) // 2, 0)
    delta = torch.zeros_like(x)
    for top in range(first, first + height // side * side, side):
        for left in range(first, first + width // side * side, side):
            part = delta[:, :, top : top + side, left : left + side]
            pattern = worker.eta(side)[: part.shape[2], : part.shape[3]]  # on its side or not, at random
            part += pattern * worker.random_choice([len(x), x.shape[1], 1, 1])
    return delta


def _window(worker: Any, height: int, width: int, side: int) -> tuple[slice, ...]:
    top, left = (int(worker.random_int(0, room - side)) for room in (height, width))
    return slice(None), slice(None), slice(top, top + side), slice(left, left + side)


def _norms(delta: Tensor) -> Tensor:
    return (delta**2).sum(dim=(-2, -1), keepdim=True).sqrt()
