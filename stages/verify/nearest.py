"""Which samples are nearest to an error, so that they are tried first, and the others only where one of them falls."""

from __future__ import annotations

import numpy as np

from ..margin import margins
from .candidates import Candidates
from .route import Batch
from .subject import Predict


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
