"""Shard: the unit of work, all routes on a few samples in one process with one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import torch

from ...data import Split
from ...threat import ThreatModel
from .. import position
from ..checks.base import Shard, question
from ..config import VerifyConfig
from ..evidence.candidates import Candidates
from ..evidence.counts import Counts
from ..evidence.failed_attack import failures
from ..evidence.repeat_queries import RepeatQueries
from ..evidence.shard_result import ROUNDED, ShardResult
from ..routes.base import Batch, Context, Outcome, attempt, routes, run_white_box
from ..routes.nearest_first import nearest_first
from ..subject.rescaled import with_rescaled
from ..subject.subject import Subject, is_correct
from .eight_bit import attack_eight_bit

STRONG = "whitebox-strong"


def attack_shard(
    subject: Subject,
    split: Split,
    threat: ThreatModel,
    config: VerifyConfig,
    order: Sequence[str],
    pool: Candidates,
) -> ShardResult:
    """Attack a few samples by every route in order, then question the result.

    Args:
        subject: what is attacked; it is opened here.
        split: the samples.
        threat: the ball.
        config: how hard to try.
        order: route names.
        pool: candidates found on other subjects, for replay.
    """
    torch.set_num_threads(1)
    with closing(subject.open()) as unscaled:
        batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
        clean = unscaled.predict(split.images)
        repeated = RepeatQueries.released(unscaled.predict, split.images, threat)
        surviving = is_correct(clean, split.labels)
        opened = with_rescaled(unscaled, clean, surviving)
        context = Context(opened, threat, config, pool)
        result = ShardResult(split, surviving.copy(), {}, Candidates.none(split.images.shape[1:]), Counts())
        result.warnings |= opened.doubts
        found: list[Candidates] = []

        def meet(attack: Callable[[Batch], Outcome], name: str) -> None:
            nonlocal surviving
            if surviving.any():
                outcome = attempt(attack, batch.where(surviving), context, name)
                surviving = surviving.copy()
                surviving[surviving] = ~outcome.broken
                found.append(outcome.candidates)
                result.warnings.update(outcome.warnings)

        if opened.guard is not None and opened.guard.failures:
            meet(partial(_judged, neighbours=repeated.candidates(split.index), context=context), "repeated queries")
        position.plan(len(split), [*order, position.CHECKS])
        for name in order:
            position.part(name, int(surviving.sum()))
            started = time.perf_counter()
            tried = Candidates.join(found, split.images.shape[1:])
            meet(partial(routes[name].run, context=replace(context, tried=tried)), name)
            result.bits[name] = surviving.copy()
            result.seconds[name] = time.perf_counter() - started
        position.part(position.CHECKS, int(surviving.sum()))
        started = time.perf_counter()
        ended = Candidates.join(found, split.images.shape[1:])
        result.candidates = context.counted(ended, batch) if opened.eight_bit else ended
        shard = Shard(context, batch, result, clean, repeated)
        question(shard, attacks=True)
        attack_eight_bit(result, batch, context, ended)
        question(shard, attacks=False)
        result.seconds[position.CHECKS] = time.perf_counter() - started
        return result


def _judged(batch: Batch, neighbours: Candidates, context: Context) -> Outcome:
    """Show the neighbours that were asked about before the attacks; some of them made the model fail."""
    return Outcome(context.judge(neighbours.of(batch.index), batch), Candidates.none(tuple(batch.images.shape[1:])))


def strengthen_shard(subject: Subject, result: ShardResult, threat: ThreatModel, config: VerifyConfig) -> ShardResult:
    """Attack the survivors of a shard again, by the white box with more restarts and another seed.

    Those nearest to an error first, and the others where one of them falls.
    """
    torch.set_num_threads(1)
    split = result.split
    restarted = config.model_copy(update={"seed": config.seed + 1})
    pool = Candidates.none(split.images.shape[1:])
    with closing(subject.open()) as opened:
        context = Context(opened, threat, restarted, pool, restarts=config.strong_restarts)
        surviving = result.robust.copy()
        batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
        ended = result.candidates
        position.plan(len(split), [STRONG])
        position.part(STRONG, int(surviving.sum()))
        if surviving.any():
            again = partial(run_white_box, context=context, order=list(result.bits))
            outcome = nearest_first(batch.where(surviving), result.candidates, opened.predict, again)
            result.warnings |= failures(outcome.warnings)
            surviving[surviving] = ~outcome.broken
            ended = Candidates.join([ended, outcome.candidates], split.images.shape[1:])
        del result.bits[ROUNDED]  # which comes again, as the last
        result.bits[STRONG] = surviving
        result.candidates = context.counted(ended, batch) if opened.eight_bit else ended
        attack_eight_bit(result, batch, context, ended)
        return result
