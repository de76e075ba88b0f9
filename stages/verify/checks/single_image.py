"""The images that came nearest to an error once more: each alone, and by a copy of the model that has seen no other.

A model may know an attack by what stands in the same batch, or by what it was asked before (Chen, Carlini & Wagner,
"Stateful Detection of Black-Box Adversarial Attacks", 2019, arXiv 1907.05587); whoever deploys it shows it one image.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from ....targets.base import Images, Logits
from ...margin import margins
from ..evidence.shard_result import ShardResult
from ..subject.subject import OpenedSubject, Predict, in_batches, is_correct
from .audit import FAR
from .repeat_queries import moved

# Of a shard's robust samples.
ASKED = 64


def check_single_image(result: ShardResult, surface: OpenedSubject) -> None:
    """Count robust samples whose worst candidate gets another answer alone, or from a fresh copy."""
    images, labels = _worst(result, surface)
    if not len(images):
        return
    together, alone = surface.predict(images), _singly(surface.predict, images)
    counts = result.counts
    # All were answered rightly among an attack's other images.
    counts.unstable = max(counts.unstable, _otherwise(alone, together, labels))
    if surface.fresh is not None:
        with closing(surface.fresh()) as copy:
            counts.fresh_asked, counts.fresh_changed = len(images), _otherwise(_singly(copy, images), alone, labels)


def _worst(result: ShardResult, surface: OpenedSubject) -> tuple[Images, np.ndarray]:
    """Of each robust sample the candidate that a stand-in finds the worst, up to ASKED in all, and the labels.

    The last gradient's forward is that of another function where the subject is a Python function: it has no memory.
    """
    found, labels = result.candidates, result.split.labels
    rows = found.rows_in(result.split.index)
    left = np.flatnonzero(result.robust[rows])
    models = list(surface.gradient_sources.values())
    judge = in_batches(models[-1]) if models else surface.predict
    leads = margins(np.nan_to_num(judge(found.images[left])), labels[rows[left]])
    by_lead = left[np.argsort(leads, kind="stable")]
    _, first = np.unique(rows[by_lead], return_index=True)
    chosen = by_lead[np.sort(first)[:ASKED]]
    return found.images[chosen], labels[rows[chosen]]


def _singly(predict: Predict, images: Images) -> Logits:
    return np.concatenate([predict(images[row : row + 1]) for row in range(len(images))])


def _otherwise(now: Logits, before: Logits, labels: np.ndarray) -> int:
    return int((~is_correct(now, labels) | moved(now, before, FAR)).sum())
