"""Fast Square Attack, Linf: pyautoattack's own random numbers, and no image asked about twice.

Source: Andriushchenko et al., "Square Attack", ECCV 2020 (arXiv 1912.00049), algorithms 1 and 2, with the schedule and
the order of random numbers of `SquareAttack.attack_single_run`: on a model whose answers are always the same, the same
image to the last bit. Late in the attack half the proposals on one-channel images, of one pixel each, set it to what
it is, and most others were made and refused before: on 8x8 images nine of ten. The bookkeeping of a proposal costs more
than a small network's answer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...margin import margins as margins_of

Array = np.ndarray

# Bytes of the table of refused proposals, beyond which all are asked about.
_LARGEST_TABLE = 2**27


def square_single_run(worker: Any, x: Tensor, y: Tensor) -> tuple[None, Tensor]:
    """`SquareAttack.attack_single_run` for Linf and the margin loss.

    An answer that is no number counts as an error.

    Args:
        worker: pyautoattack's attack, whose `predict`, `eps`, `n_queries` and `p_selection` are used; the random
            numbers are torch's, seeded by its `perturb`.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.

    Returns:
        None, where pyautoattack returns the number of queries, and the images with the least margins.
    """
    clean, labels = x.cpu().numpy(), y.cpu().numpy()
    channels, height, width = clean.shape[1:]
    eps = np.float32(worker.eps)
    low, high = (np.clip(clean + sign * eps, 0, 1) for sign in (np.float32(-1), np.float32(1)))
    stripes = _signs(torch.rand(len(clean), channels, 1, width).numpy())
    best = np.clip(clean + eps * stripes, 0, 1)
    draws = torch.rand(worker.n_queries, 2 + channels).numpy()

    def ask(images: Array, rows: Array) -> Array:
        with torch.no_grad():
            logits = worker.predict(torch.from_numpy(images).to(x.device)).cpu().numpy()
        return np.where(np.isfinite(logits).all(1), margins_of(logits, labels[rows]), -np.inf)

    margins = ask(best, np.arange(len(best)))
    refused = _Refused(len(clean), channels)
    for query, draw in enumerate(draws):
        rows = np.flatnonzero(margins > 0)
        if not len(rows):
            break
        share = worker.p_selection(query)
        side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
        top, left = (int(np.float32(room - side) * draw[at]) for at, room in enumerate((height, width)))
        window = (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
        signs = _signs(draw[2:])
        proposal = refused.number(side, (height - side + 1, width - side + 1), (top, left), signs)
        rows = rows[~refused.among(rows, proposal)]
        if not len(rows):
            continue
        step = np.float32(2 * worker.eps) * signs.reshape(-1, 1, 1)
        before = best[window][rows]
        after = np.clip(before + step, low[window][rows], high[window][rows])
        new = (after != before).reshape(len(rows), -1).any(1)
        rows, after = rows[new], after[new]
        if not len(rows):
            continue
        images = best[rows]
        images[window] = after
        found = ask(images, rows)
        better = (found < margins[rows]) | (found <= 0)
        best[rows[better]], margins[rows[better]] = images[better], found[better]
        refused.note(rows, proposal, better)
    return None, torch.from_numpy(best).to(x.device)


class _Refused:
    """Which proposals each sample's present image has refused: a window and its signs, which make the same image again.

    Args:
        samples: N.
        channels: C of the images.
    """

    def __init__(self, samples: int, channels: int) -> None:
        self._samples, self._channels = samples, channels
        self._side = 0
        self._table: Array | None = None

    def number(self, side: int, room: tuple[int, int], place: tuple[int, int], signs: Array) -> int:
        """Which of the proposals of this size it is; the first of another size forgets the others."""
        signs_of = 2**self._channels
        if side != self._side:
            self._side = side
            size = self._samples * room[0] * room[1] * signs_of
            # By proposals, so that one of them is a row of memory.
            self._table = np.zeros((size // self._samples, self._samples), bool) if size <= _LARGEST_TABLE else None
        up = sum(1 << channel for channel, sign in enumerate(signs) if sign > 0)
        return (place[0] * room[1] + place[1]) * signs_of + up

    def among(self, rows: Array, proposal: int) -> Array:
        """Whether these samples refused it, `[len(rows)]`."""
        return np.zeros(len(rows), bool) if self._table is None else self._table[proposal, rows]

    def note(self, rows: Array, proposal: int, better: Array) -> None:
        """Keep in mind who refused it; whoever took it has another image now, which has refused nothing."""
        if self._table is not None:
            self._table[proposal, rows] = True
            self._table[:, rows[better]] = False


def _signs(uniform: Array) -> Array:
    return np.sign(2 * uniform - 1)
