"""Stratified split: divide rows at random so that both sides have the classes in the same shares.

It is the draw of scikit-learn's `train_test_split(stratify=...)` (StratifiedShuffleSplit, BSD-3-Clause), to the last
row, without importing it, which takes longer than everything else that a run with finished stages does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def stratified_split(rows: Rows, labels: NDArray[np.int64], count: int, seed: int) -> tuple[Rows, Rows]:
    """Return the rest and `count` rows, each in random order.

    Args:
        rows: `[N]`.
        labels: their classes, `[N]`; two of each at least.
        count: of the second side; both sides have one row a class at least.
        seed: of the draw.
    """
    rng = np.random.RandomState(seed)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(sizes)[:-1])
    kept = _shares(sizes, len(rows) - count, rng)
    drawn = _shares(sizes - kept, count, rng)
    rest: list[int] = []
    held: list[int] = []
    for own, first, second in zip(members, kept, drawn, strict=True):
        shuffled = own[rng.permutation(len(own))]
        rest.extend(shuffled[:first])
        held.extend(shuffled[first : first + second])
    return rows[rng.permutation(rest)], rows[rng.permutation(held)]


def _shares(sizes: NDArray[np.int64], count: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """How many of each class: the classes' shares rounded down, then one more where most was cut off, ties by lot."""
    exact = sizes / sizes.sum() * count
    found = np.floor(exact)
    cut, missing = exact - found, int(count - found.sum())
    for value in np.unique(cut)[::-1]:
        if missing == 0:
            break
        (tied,) = np.where(cut == value)
        chosen = rng.choice(tied, size=min(len(tied), missing), replace=False)
        found[chosen] += 1
        missing -= len(chosen)
    return found.astype(np.int64)
