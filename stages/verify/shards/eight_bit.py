"""8-bit threat model: what is left of the attacks once their images are delivered as a camera would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ...eight_bit import nearest, towards
from ..attacks.autoattack import Attack
from ..evidence.candidates import Candidates
from ..evidence.failed_attack import failures
from ..evidence.shard_result import ROUNDED, ShardResult
from ..routes.base import FAILED, Batch, Context, Outcome
from ..routes.probe import PROBE, search
from ..subject.guarded import SamplesFailed
from ..subject.subject import OpenedSubject, fooled
from ..subject.wrappers import OnGrid

Attack8 = Callable[[Batch], Outcome]

# On the samples that fall to real-valued images and not to their rounded ones.
ATTACKS: tuple[Attack, ...] = ("apgd-ce", "apgd-t", "square")
# Of Square's budget, for the few samples that only real-valued images break: what breaks those is near an error.
OF_QUERIES = 5


def attack_eight_bit(result: ShardResult, batch: Batch, context: Context, ended: Candidates | None = None) -> None:
    """Say which samples withstand 8-bit images: all candidates rounded, then attacks on the grid where those fail.

    Rounded images stay in the ball, so that a sample that falls to one is not robust to real-valued images either. Of a
    subject that sees nothing else the two are the same.

    Args:
        result: of the attacks, which gets the outcome.
        batch: the samples.
        context: of the attacks.
        ended: where the attacks ended, off the grid or on it; the result's candidates when None.
    """
    shape, labels = tuple(batch.images.shape[1:]), batch.labels.numpy()
    known = rounded(Candidates.join([result.candidates, context.pool.of(batch.index)], shape), batch, context)
    rows = known.rows_in(batch.index)
    by_rounded = fooled(context.opened.predict, known.images, rows, labels)
    eight_bit = result.clean_correct & ~result.unstable & ~by_rounded
    saved = ~result.robust
    if context.opened.eight_bit and ended is not None:
        # Answered wrongly, but as an image that its own rounding led out of the ball.
        saved = fooled(context.opened.predict, ended.images, ended.rows_in(batch.index), labels)
    news = known.of(batch.index[result.robust & ~eight_bit])
    result.candidates = Candidates.join([result.candidates, news], shape)
    threat = context.threat.of_radius(context.threat.geometry.on_grid(context.threat.eps))
    config = context.config.model_copy(update={"square_queries": -(-context.config.square_queries // OF_QUERIES)})
    on_grid = replace(context, threat=threat, config=config, opened=_on_grid(context.opened))
    for attack in _attacks(on_grid, known, searched=PROBE in result.bits, thoroughly=context.config.square_queries):
        only_real = eight_bit & saved
        if threat.eps > 0 and only_real.any():
            found, warnings = _found(attack, batch.where(only_real), on_grid)
            result.warnings |= failures(warnings)
            result.candidates = Candidates.join([result.candidates, found], shape)
            rows = found.rows_in(batch.index)
            eight_bit &= ~fooled(context.opened.predict, found.images, rows, labels)
    result.bits[ROUNDED] = result.robust & eight_bit
    result.eight_bit = result.robust if context.opened.eight_bit else eight_bit


def rounded(candidates: Candidates, batch: Batch, context: Context) -> Candidates:
    """Candidates rounded to the grid, towards the clean pixels of their samples; see `Context.counted` for the others.

    A subject that sees 8-bit images alone is shown those nearest in the ball.
    """
    if context.opened.eight_bit:
        images = context.counted(candidates, batch).images
    else:
        images = towards(candidates.images, batch.images.numpy()[candidates.rows_in(batch.index)])
    names = np.array([f"{name.removesuffix('/on-grid')}/8-bit" for name in candidates.attack.tolist()], dtype=np.str_)
    return Candidates(candidates.index, names, images)


def _attacks(on_grid: Context, known: Candidates, *, searched: bool, thoroughly: int) -> list[Attack8]:
    """Attacks on the grid; with a search from the known candidates where the real-valued attacks had one."""
    gradients = next(iter(on_grid.opened.gradient_sources), None)
    names = ATTACKS if gradients is not None else ATTACKS[-1:]
    attacks: list[Attack8] = [partial(on_grid.attack, name, None if name == "square" else gradients) for name in names]
    if searched:
        queries = thoroughly if on_grid.opened.coarse else on_grid.config.square_queries
        attacks.append(partial(search, context=replace(on_grid, tried=known), queries=queries))
    return attacks


def _found(attack: Attack8, batch: Batch, on_grid: Context) -> tuple[Candidates, set[str]]:
    try:
        with on_grid.opened.watching(batch.images.numpy(), on_grid.threat):
            outcome = attack(batch)
            return rounded(outcome.candidates, batch, on_grid), outcome.warnings
    except SamplesFailed as failed:
        names = np.full(len(failed.rows), FAILED)
        return Candidates(batch.index[failed.rows], names, failed.images), set()


def _on_grid(opened: OpenedSubject) -> OpenedSubject:
    def predict(images: np.ndarray) -> np.ndarray:
        return opened.predict(nearest(images))

    # Not by its own name: as `autograd` it would aim at one target after the other, for equality with AutoAttack.
    first = next(iter(opened.gradient_sources.values()), None)
    return replace(opened, predict=predict, gradient_sources={} if first is None else {"on-grid": OnGrid(first)})
