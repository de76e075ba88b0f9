"""One unit of work: all routes on a few samples, in one process with one thread."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..data import Split
from ..threat import ThreatModel
from .canaries import Canaries, moved
from .candidates import Candidates
from .config import VerifyConfig
from .route import Batch, Context, Outcome, routes
from .subject import Subject, Surface, fooled, is_correct

# The check at a huge eps needs few samples: nothing may survive there.
HUGE_EPS_SAMPLES = 10
# Inner logits may be hidden behind a table of stored answers, which the graph's own gradient then sees beyond.
HUGE_EPS_GRADIENTS = 2
# Of the largest logit; kernels for other batch sizes may round an int8 logit one or two steps otherwise.
FAR = 0.05
STRONG = "whitebox-strong"


@dataclass
class Counts:
    """What the verifier counts to distrust itself; shards add up.

    Attributes:
        clean_agreeing: clean images on which twin and engine give the same label.
        clean_compared: how many were compared (0 without a twin).
        adversarial_agreeing: candidates on which they do.
        adversarial_compared: how many were compared.
        missed_by_white_box: samples that a route without gradients broke and the white box does not.
        missed_by_strong: those of them that the white box with more restarts does not break either.
        standing: samples that the white box left standing.
        huge_eps_attacked: samples attacked at a huge eps.
        huge_eps_survived: those that survived it.
        unstable: samples whose label, or logits by far, depend on the batch they stand in, or change when asked again.
        asked_again: images that were asked about before and after the attacks.
        changed: those of them whose logits moved.
        flat: samples whose logits are the same to the last bit all over the ball, as far as was looked.
        flat_compared: how many were looked at.
        hidden: robust samples on which the graph's inner logits are fooled and its answer is not.
        inner_agreeing: clean images on which inner logits and answer give the same label.
        inner_compared: how many were compared (0 where nothing hides the inner logits).
    """

    clean_agreeing: int = 0
    clean_compared: int = 0
    adversarial_agreeing: int = 0
    adversarial_compared: int = 0
    missed_by_white_box: int = 0
    missed_by_strong: int = 0
    standing: int = 0
    huge_eps_attacked: int = 0
    huge_eps_survived: int = 0
    unstable: int = 0
    asked_again: int = 0
    changed: int = 0
    flat: int = 0
    flat_compared: int = 0
    hidden: int = 0
    inner_agreeing: int = 0
    inner_compared: int = 0

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})


@dataclass
class ShardResult:
    """Per-sample bits of one shard, in route order; cumulative: once broken, False from there on."""

    split: Split
    clean_correct: np.ndarray
    bits: dict[str, np.ndarray]
    candidates: Candidates
    counts: Counts
    warnings: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the shard to one file, published by a rename."""
        meta = {
            "routes": list(self.bits),
            "counts": asdict(self.counts),
            "warnings": sorted(self.warnings),
            "seconds": self.seconds,
        }
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            images=self.split.images,
            labels=self.split.labels,
            index=self.split.index,
            clean_correct=self.clean_correct,
            bits=np.array(list(self.bits.values())),
            candidate_index=self.candidates.index,
            candidate_attack=self.candidates.attack,
            candidate_images=self.candidates.images,
            meta=np.array(json.dumps(meta)),
        )
        partial.rename(path)

    @classmethod
    def load(cls, path: Path) -> ShardResult:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            return cls(
                Split(arrays["images"], arrays["labels"], arrays["index"]),
                arrays["clean_correct"],
                dict(zip(meta["routes"], arrays["bits"], strict=True)),
                Candidates(arrays["candidate_index"], arrays["candidate_attack"], arrays["candidate_images"]),
                Counts(**meta["counts"]),
                set(meta["warnings"]),
                meta["seconds"],
            )


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
    surface = subject.open()
    context = Context(surface, threat, config, pool)
    batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
    clean = surface.predict(split.images)
    canaries = Canaries.released(surface.predict, split.images, threat)
    surviving = is_correct(clean, split.labels)
    result = ShardResult(split, surviving.copy(), {}, Candidates.none(split.images.shape[1:]), Counts())
    result.warnings |= surface.doubts
    found: list[Candidates] = []
    for name in order:
        started = time.perf_counter()
        if surviving.any():
            outcome = routes[name].run(batch.where(surviving), context)
            surviving = surviving.copy()
            surviving[surviving] = ~outcome.broken
            found.append(outcome.candidates)
            result.warnings |= outcome.warnings
        result.bits[name] = surviving.copy()
        result.seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    found += _audit(result, batch, context)
    result.candidates = Candidates.join(found, split.images.shape[1:])
    _check_stability(result, clean, surface)
    _check_canaries(result, canaries, surface)
    _check_inner(result, clean, surface)
    _check_twin(result, clean, surface)
    _check_huge_eps(result, batch, context)
    result.seconds["checks"] = time.perf_counter() - started
    return result


def strengthen_shard(subject: Subject, result: ShardResult, threat: ThreatModel, config: VerifyConfig) -> ShardResult:
    """Attack the survivors of a shard again, by the white box with more restarts and another seed."""
    torch.set_num_threads(1)
    split = result.split
    restarted = config.model_copy(update={"seed": config.seed + 1})
    pool = Candidates.none(split.images.shape[1:])
    context = Context(subject.open(), threat, restarted, pool, restarts=config.strong_restarts)
    surviving = list(result.bits.values())[-1].copy()
    batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
    found = [result.candidates]
    if surviving.any():
        outcome = _white_box(batch.where(surviving), context, list(result.bits))
        surviving[surviving] = ~outcome.broken
        found.append(outcome.candidates)
    result.bits[STRONG] = surviving
    result.candidates = Candidates.join(found, split.images.shape[1:])
    return result


def _white_box(batch: Batch, context: Context, order: Sequence[str]) -> Outcome:
    """Run every route of the order that needs gradients, each on the survivors of the one before."""
    broken = np.zeros(len(batch), bool)
    found: list[Candidates] = []
    for name in order:
        if name in routes.names() and routes[name].white_box and not broken.all():
            outcome = routes[name].run(batch.where(~broken), context)
            broken[~broken] = outcome.broken
            found.append(outcome.candidates)
    return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])))


def _audit(result: ShardResult, batch: Batch, context: Context) -> list[Candidates]:
    """Ask whether the white box finds what the routes without gradients found.

    A white box that is weaker than a black box, or than examples made for another model, is being fooled
    by the gradients it sees, and its figure is too high.
    """
    order = list(result.bits)
    if not context.surface.differentiable or not any(routes[name].white_box for name in order):
        return []
    by_black_box = np.zeros(len(batch), bool)
    before = result.clean_correct
    for name in order:
        if not routes[name].white_box:
            by_black_box |= before & ~result.bits[name]
        before = result.bits[name]
    result.counts.standing = int(before.sum())
    if not by_black_box.any():
        return []
    victims = batch.where(by_black_box)
    normal = _white_box(victims, context, order)
    missed = victims.where(~normal.broken)
    result.counts.missed_by_white_box = len(missed)
    result.counts.standing += len(missed)
    if not len(missed):
        return [normal.candidates]
    restarted = context.config.model_copy(update={"seed": context.config.seed + 1})
    strong_context = Context(
        context.surface, context.threat, restarted, context.pool, restarts=restarted.strong_restarts
    )
    strong = _white_box(missed, strong_context, order)
    result.counts.missed_by_strong = int((~strong.broken).sum())
    return [normal.candidates, strong.candidates]


def _check_stability(result: ShardResult, clean: np.ndarray, surface: Surface) -> None:
    """Ask again, in reverse order and in odd batches: no sample's answer may depend on its neighbours."""
    images = result.split.images
    again = surface.predict(images[::-1].copy())[::-1]
    parts = np.concatenate([surface.predict(part.copy()) for part in np.array_split(images, 3)])
    for other in (again, parts):
        flipped = moved(other, clean, 1e-3) & (other.argmax(1) != clean.argmax(1))
        result.counts.unstable = max(result.counts.unstable, int((flipped | moved(other, clean, FAR)).sum()))


def _check_canaries(result: ShardResult, canaries: Canaries, surface: Surface) -> None:
    """Ask again what was asked before the attacks: nobody may have learnt from them, or grown tired of them."""
    counts = result.counts
    counts.asked_again, counts.changed = canaries.asked, canaries.moved(surface.predict)
    counts.flat_compared, counts.flat = len(result.split), canaries.flat


def _check_inner(result: ShardResult, clean: np.ndarray, surface: Surface) -> None:
    """Count what fools the last layer and not what stands behind it."""
    if surface.inner is None:
        return
    counts, candidates = result.counts, result.candidates
    counts.inner_compared = len(clean)
    counts.inner_agreeing = int((surface.inner(result.split.images).argmax(1) == clean.argmax(1)).sum())
    rows = candidates.rows_in(result.split.index)
    robust = list(result.bits.values())[-1] if result.bits else result.clean_correct
    inside = fooled(surface.inner, candidates.images, rows, result.split.labels)
    counts.hidden = int((robust & inside).sum())


def _check_twin(result: ShardResult, clean: np.ndarray, surface: Surface) -> None:
    if surface.twin is None:
        return
    counts, candidates = result.counts, result.candidates.images
    counts.clean_compared = len(clean)
    counts.clean_agreeing = int((surface.twin(result.split.images).argmax(1) == clean.argmax(1)).sum())
    counts.adversarial_compared = len(candidates)
    if len(candidates):
        same = surface.twin(candidates).argmax(1) == surface.predict(candidates).argmax(1)
        counts.adversarial_agreeing = int(same.sum())


def _check_huge_eps(result: ShardResult, batch: Batch, context: Context) -> None:
    """Attack with an eps at which nothing can be robust; what survives hides from the gradients."""
    chosen = result.clean_correct & (np.cumsum(result.clean_correct) <= HUGE_EPS_SAMPLES)
    if not chosen.any():
        return
    pixels = batch.images[0].numel()
    huge = 1.0 if context.threat.norm == "Linf" else float(pixels) ** 0.5
    wide = Context(context.surface, ThreatModel(norm=context.threat.norm, eps=huge), context.config, context.pool)
    few = batch.where(chosen)
    broken = np.zeros(len(few), bool)
    for gradients in list(context.surface.differentiable)[:HUGE_EPS_GRADIENTS]:
        if not broken.all():
            broken[~broken] = wide.attack("apgd-ce", gradients, few.where(~broken)).broken
    if context.surface.differentiable:
        result.counts.huge_eps_attacked = len(few)
        result.counts.huge_eps_survived = int((~broken).sum())
