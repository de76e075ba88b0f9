"""Random search of the ball from where gradients have led, its time given to who may still fall.

Proposals are blocks of pixels, as Square's (Andriushchenko et al., "Square Attack", ECCV 2020, arXiv 1912.00049), and
pixels scattered over the image; they go to the rim of the ball or to levels within, since the rim is not the worst
where answers fall between jumps. Successive halving (Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", AISTATS 2016, arXiv 1502.07943) spends as much on the nearest half as on all, and as much
again on the nearest quarter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...threat import ThreatModel

Array = np.ndarray
#: Images `[M, C, H, W]` and their samples' rows `[M]` to margins `[M]`, minus infinity where a sample falls.
Ask = Callable[[Array, Array], Array]

# The largest block, of the shorter side, and the most scattered pixels, of all; both shrink to one pixel.
LARGEST_BLOCK = 0.3
MOST_SCATTERED = 0.05
# How often pixels are scattered, and how often a proposal goes to a level within the ball.
SCATTERED = 0.5
WITHIN = 1 / 3
HALVINGS = 3


def random_search(
    ask: Ask, clean: Array, points: Array, margins: Array, threat: ThreatModel, *, queries: int, seed: int
) -> None:
    """Lessen margins, in place.

    Args:
        ask: what the model says.
        clean: `[N, C, H, W]` the balls' centres.
        points: `[N, C, H, W]` where to begin; where it ended, afterwards.
        margins: `[N]` of the points.
        threat: the ball.
        queries: the last quarter standing is asked so many, half as many before with another quarter, and a quarter as
            many at first with all: three quarters of it a sample, on average.
        seed: of the proposals.
    """
    random = np.random.default_rng(seed)
    for halving in range(HALVINGS):
        rows = np.flatnonzero(~np.isneginf(margins))
        rows = rows[np.argsort(margins[rows], kind="stable")][: -(-len(clean) // 2**halving)]
        budget = -(-queries // 2 ** (HALVINGS - 1 - halving))
        for query in range(budget):
            rows = rows[~np.isneginf(margins[rows])]
            if not len(rows):
                break
            trial = _proposals(random, clean[rows], points[rows], threat, 1 - query / budget)
            found = ask(trial, rows)
            better = found <= margins[rows]
            points[rows[better]], margins[rows[better]] = trial[better], found[better]


def _proposals(random: np.random.Generator, clean: Array, points: Array, threat: ThreatModel, size: float) -> Array:
    """One other point for each, `size` of the largest change away."""
    count, channels, height, width = clean.shape
    if random.random() < SCATTERED:
        pixels = height * width
        several = max(1, round(MOST_SCATTERED * pixels * size))
        chosen = np.zeros((count, pixels), bool)
        np.put_along_axis(chosen, random.integers(0, pixels, (count, several)), True, axis=1)
        chosen, levels = chosen.reshape(count, 1, height, width), (count, channels, height, width)
    else:
        side = max(1, round(LARGEST_BLOCK * min(height, width) * size))
        rows, columns = (_within(random, count, side, room) for room in (height, width))
        chosen, levels = rows[:, None, :, None] & columns[:, None, None, :], (count, channels, 1, 1)
    new = random.uniform(-1, 1, levels) if random.random() < WITHIN else random.choice([-1.0, 1.0], levels)
    delta = threat.geometry.proposal(points - clean, chosen, new, threat.eps, size)
    return (clean + delta).clip(0, 1)


def _within(random: np.random.Generator, count: int, side: int, room: int) -> Array:
    """For each sample the `side` places in a row, `[count, room]`, that a block covers."""
    first = random.integers(0, room - side + 1, (count, 1))
    return (np.arange(room) >= first) & (np.arange(room) < first + side)
