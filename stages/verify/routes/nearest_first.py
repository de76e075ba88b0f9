"""Smallest margin first: samples nearest to an error are tried first, the others only where one of them falls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...margin import margins
from ..evidence.candidates import Candidates
from ..subject.subject import Predict
from .base import Batch, Outcome

# So many samples are tried before all others.
FIRST = 20

Attack = Callable[[Batch], Outcome]


def nearest_first(
    batch: Batch, candidates: Candidates, predict: Predict, attack: Attack, *, thoroughly: Attack | None = None
) -> Outcome:
    """Attack the samples nearest to an error, and the others only where one of those falls.

    Args:
        batch: samples that are answered rightly.
        candidates: images of these samples and of others, by which `nearest` chooses.
        predict: the subject's forward.
        attack: what is tried.
        thoroughly: tried instead where one has fallen, on all that stand, those tried before included.
    """
    near = nearest(batch, candidates, predict, FIRST)
    first = attack(batch.where(near))
    broken = np.zeros(len(batch), bool)
    broken[near] = first.broken
    left = ~near if thoroughly is None else ~broken
    if not (broken.any() and left.any()):
        return Outcome(broken, first.candidates, first.warnings)
    second = (thoroughly or attack)(batch.where(left))
    broken[left] = second.broken
    found = Candidates.join([first.candidates, second.candidates], tuple(batch.images.shape[1:]))
    return Outcome(broken, found, first.warnings | second.warnings)


def nearest(batch: Batch, candidates: Candidates, predict: Predict, count: int) -> np.ndarray:
    """Say which samples, `count` at most, lead by least at the worst image known of them: `[N]` booleans.

    Args:
        batch: N samples.
        candidates: images of these samples and of others.
        predict: the subject's forward.
        count: how many.
    """
    labels = batch.labels.numpy()
    least = margins(predict(batch.images.numpy()), labels)
    known = candidates.of(batch.index)
    if len(known):
        rows = known.rows_in(batch.index)
        np.minimum.at(least, rows, np.nan_to_num(margins(predict(known.images), labels[rows])))
    near = np.zeros(len(batch), bool)
    near[np.argsort(least, kind="stable")[:count]] = True
    return near
