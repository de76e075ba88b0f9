"""What a finished shard is asked before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..evidence.candidates import Candidates
from ..evidence.shard_result import ShardResult
from ..routes.base import Batch, Context, Outcome, attempt, routes
from ..routes.probe import PROBE, ascend
from ..subject.subject import OpenedSubject, fooled, is_correct
from .repeat_queries import RepeatQueries, moved

# Of the largest logit; kernels for other batch sizes may round an int8 logit one or two steps otherwise.
FAR = 0.05


def white_box(batch: Batch, context: Context, order: Sequence[str]) -> Outcome:
    """Run every route of the order that needs gradients, each on the survivors of the one before."""
    broken = np.zeros(len(batch), bool)
    found: list[Candidates] = []
    for name in order:
        if name in routes.names() and routes[name].white_box and not broken.all():
            outcome = attempt(partial(routes[name].run, context=context), batch.where(~broken), context)
            broken[~broken] = outcome.broken
            found.append(outcome.candidates)
    return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])))


def audit(result: ShardResult, batch: Batch, context: Context) -> list[Candidates]:
    """Ask whether gradients find what the routes without gradients found: the white box, then averaged ones.

    A white box that is weaker than a black box, or than examples made for another model, is being fooled
    by the gradients it sees, and its figure is too high.
    """
    order = list(result.bits)
    if not context.surface.gradient_sources or not any(routes[name].white_box for name in order):
        return []
    by_black_box, by_search = np.zeros((2, len(batch)), bool)
    before = result.clean_correct
    for name in order:
        if not routes[name].white_box:
            fell = before & ~result.bits[name]
            by_black_box |= fell
            by_search |= fell & (name == PROBE)
        before = result.bits[name]
    result.counts.standing = int(before.sum())
    if not by_black_box.any():
        return []
    victims = batch.where(by_black_box)
    normal = white_box(victims, context, order)
    found, missed = [normal.candidates], victims.where(~normal.broken)
    if len(missed) and PROBE in order:
        # Which all survivors have met: a gradient attack like the others, where theirs are noisy.
        averaged = attempt(partial(ascend, context=context), missed, context)
        found, missed = [*found, averaged.candidates], missed.where(~averaged.broken)
    searched = np.isin(missed.index, batch.index[by_search])
    result.counts.missed_by_white_box, result.counts.search_missed = int((~searched).sum()), int(searched.sum())
    result.counts.standing += len(missed)
    if not len(missed):
        return found
    restarted = context.config.model_copy(update={"seed": context.config.seed + 1})
    strong_context = Context(
        context.surface, context.threat, restarted, context.pool, restarts=restarted.strong_restarts
    )
    strong = white_box(missed, strong_context, order)
    result.counts.missed_by_strong = int((~strong.broken & ~searched).sum())
    result.counts.search_missed_by_strong = int((~strong.broken & searched).sum())
    return [*found, strong.candidates]


def check_stability(result: ShardResult, clean: np.ndarray, surface: OpenedSubject) -> None:
    """Ask again, in reverse order and in batches of many sizes: no answer may depend on an image's neighbours."""
    images = result.split.images
    again = surface.predict(images[::-1].copy())[::-1]
    parts = np.concatenate([surface.predict(part.copy()) for part in np.split(images, _ends(len(images)))])
    for other in (again, parts):
        flipped = moved(other, clean, 1e-3) & (other.argmax(1) != clean.argmax(1))
        result.counts.unstable = max(result.counts.unstable, int((flipped | moved(other, clean, FAR)).sum()))


def _ends(count: int) -> list[int]:
    """Where batches of 1, 1, 2, 3, 5, 8, ... images end, the last one before `count`."""
    ends, size, following = [0], 1, 1
    while ends[-1] + size < count:
        ends.append(ends[-1] + size)
        size, following = following, size + following
    return ends[1:]


def check_canaries(result: ShardResult, canaries: RepeatQueries, surface: OpenedSubject) -> None:
    """Ask again what was asked before the attacks: nobody may have learnt from them, or grown tired of them."""
    counts = result.counts
    counts.asked_again, counts.changed = canaries.asked, canaries.moved(surface.predict)
    counts.flat_compared, counts.flat = len(result.split), canaries.flat


def check_inner(result: ShardResult, clean: np.ndarray, surface: OpenedSubject) -> None:
    """Count what fools the last layer and not what stands behind it."""
    if surface.inner is None:
        return
    counts, candidates = result.counts, result.candidates
    counts.inner_compared = len(clean)
    counts.inner_agreeing = int((surface.inner(result.split.images).argmax(1) == clean.argmax(1)).sum())
    rows = candidates.rows_in(result.split.index)
    inside = fooled(surface.inner, candidates.images, rows, result.split.labels)
    counts.hidden = int((result.robust & inside).sum())


def check_twin(result: ShardResult, clean: np.ndarray, surface: OpenedSubject) -> None:
    """Compare the labels of twin and subject on clean images and on all candidates."""
    if surface.twin is None:
        return
    counts, candidates = result.counts, result.candidates.images
    counts.clean_compared = len(clean)
    counts.clean_agreeing = int((surface.twin(result.split.images).argmax(1) == clean.argmax(1)).sum())
    counts.adversarial_compared = len(candidates)
    if len(candidates):
        same = surface.twin(candidates).argmax(1) == surface.predict(candidates).argmax(1)
        counts.adversarial_agreeing = int(same.sum())


def check_surrogate(result: ShardResult, surface: OpenedSubject) -> None:
    """Count what fools the surrogate, and what of that the subject withstands."""
    if surface.surrogate is None:
        return
    candidates, labels, counts = result.candidates, result.split.labels, result.counts
    right = result.clean_correct & is_correct(surface.surrogate(result.split.images), labels)
    rows = candidates.rows_in(result.split.index)
    astray = right & fooled(surface.surrogate, candidates.images, rows, labels)
    counts.surrogate_fooled, counts.surrogate_withstood = int(astray.sum()), int((astray & result.robust).sum())
