"""AutoAttack, one attack at a time, with every candidate recorded.

Source: Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv 2003.01690), as packaged in pyautoattack.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from ...threat import ThreatModel
from .. import position
from ..evidence.candidates import Candidates
from .batched_targets import apgd_at_several, fab_at_several
from .fast_fab import fab_single_run
from .fast_square import square_single_run
from .other_norms import apgd_single_run, search_single_run
from .square_l2 import square_l2_single_run

Attack = Literal["apgd-ce", "apgd-t", "fab-t", "square"]
STANDARD: tuple[Attack, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")

# The targeted attacks of the standard version aim at nine classes, and the targeted DLR loss needs four.
TARGETS = 9
DLR_CLASSES = 4

# Attacks of ours in place of pyautoattack's, by what it calls the norm; where there is none it runs its own.
_SQUARES = {"Linf": square_single_run, "L2": square_l2_single_run}
_FABS = {"Linf", "L2"}
# The warning where AutoAttack does not know the norm.
NOT_AUTOATTACK = "not-autoattack"

# x + (x' - x) in float32 may overshoot eps by this much; AutoAttack's own examples do.
ROUNDING = 1e-6

# What AutoAttack's own checks say, and the name we give it.
_WARNINGS = {
    "randomized defense": "randomised",
    "probability distribution": "probabilities",
    "dynamic defense": "dynamic",
    "zero gradient": "zero-gradient",
}


@dataclass(frozen=True)
class AttackRun:
    """What one attack found on a batch: the final images `[N, C, H, W]`, all candidates, and its warnings."""

    x_adv: Tensor
    candidates: Candidates
    warnings: frozenset[str]


def run_attack(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: np.ndarray,
    threat: ThreatModel,
    *,
    classes: int,
    seed: int,
    restarts: int = 1,
    queries: int = 5000,
    steps: int | None = None,
    short_cuts: bool = False,
) -> AttackRun:
    """Run one attack of AutoAttack standard on a batch that the model classifies correctly.

    With one restart, the default queries and at least ten classes this is exactly that attack of
    AutoAttack standard; with fewer classes the targeted attacks aim at all wrong classes, and APGD-T is
    skipped below four classes, where its loss is not defined. In a norm that AutoAttack does not know APGD and, instead
    of Square, a random search are edgeproof's own, FAB is skipped, and a warning says so.

    Args:
        attack: which one.
        model: images in [0, 1] to logits; differentiable for all but `square`.
        x: `[N, C, H, W]` float32 images.
        y: `[N]` labels.
        index: `[N]` data-set rows, by which candidates are filed.
        threat: the ball.
        classes: number of classes.
        seed: seeds the attack's random starts.
        restarts: random restarts of APGD and FAB.
        queries: budget of Square.
        steps: of APGD; AutoAttack's own 100 when None.
        short_cuts: let APGD-T aim a small batch at several targets in one, which takes a fraction of the time; its
            random starts are others then. Let FAB-T leave the targets that it comes no nearer to while far outside the
            ball (`lean_fab`). It aims at several in one batch anyway: it has no random starts.
    """
    if attack == "apgd-t" and classes < DLR_CLASSES:
        return AttackRun(x, Candidates.none(tuple(x.shape[1:])), frozenset({"no-targeted-dlr"}))
    norm, known = threat.geometry, threat.geometry.autoattack
    if known is None and attack == "fab-t":
        return AttackRun(x, Candidates.none(tuple(x.shape[1:])), frozenset({NOT_AUTOATTACK}))
    runner = AutoAttack(model, norm=known or "Linf", eps=threat.eps, seed=seed, device=x.device)
    runner.attacks_to_run = [attack]
    runner.apgd_targeted.n_target_classes = runner.fab.n_target_classes = min(TARGETS, classes - 1)
    for part in (runner.apgd, runner.apgd_targeted, runner.fab):
        part.n_restarts = restarts
    runner.square.n_queries = queries
    if steps is not None:
        runner.apgd.n_iter = steps

    recorder = _Recorder(attack, x, index, threat)
    worker = {
        "apgd-ce": runner.apgd,
        "apgd-t": runner.apgd_targeted,
        "fab-t": runner.fab,
        "square": runner.square,
    }[attack]
    if known is None:
        own = partial(search_single_run, threat=threat) if attack == "square" else partial(apgd_single_run, norm=norm)
        worker.attack_single_run = partial(own, worker)
    elif attack == "square" and known in _SQUARES:
        worker.attack_single_run = partial(_SQUARES[known], worker)
    elif attack == "fab-t" and known in _FABS:
        worker.attack_single_run = partial(fab_single_run, worker, leave_hopeless=short_cuts)
    worker.attack_single_run = recorder.watching(worker.attack_single_run)
    if attack == "fab-t" and known in _FABS:
        worker.perturb = partial(fab_at_several, worker, norm=norm)
    elif attack == "apgd-t" and short_cuts:
        worker.perturb = partial(apgd_at_several, worker)
    position.step(attack, len(x) * _images(attack, runner))
    with position.counting(model), _warnings() as heard, _tracing_kept(), torch.random.fork_rng(devices=[]):
        x_adv, _ = runner.run_standard_evaluation(x, y, batch_size=max(len(x), 1))
    return AttackRun(x_adv.detach(), recorder.candidates(), frozenset(heard if known else heard | {NOT_AUTOATTACK}))


def _images(attack: Attack, runner: AutoAttack) -> int:
    """About how many images an attack asks about for each sample that withstands it."""
    if attack == "square":
        return runner.square.n_queries
    if attack == "fab-t":  # a step asks for the gradient, then for the answer
        return 2 * runner.fab.n_iter * runner.fab.n_restarts * runner.fab.n_target_classes
    runs = runner.apgd_targeted.n_target_classes if attack == "apgd-t" else 1
    return runner.apgd.n_iter * runner.apgd.n_restarts * runs


def inside(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Put candidates that left the ball around x, or [0, 1], back into it; the others stay as they are."""
    delta = x_adv - x
    pixels = ((x_adv >= 0) & (x_adv <= 1)).flatten(1).all(1)
    fine = pixels & (threat.geometry.size(delta) <= threat.eps + ROUNDING)
    put_back = (x + threat.geometry.clip(delta, threat.eps)).clamp(0, 1)
    return torch.where(fine.view(-1, *[1] * (x.dim() - 1)), x_adv, put_back)


class _Recorder:
    """Keeps the end point of every single run, of samples that were fooled and of samples that were not.

    AutoAttack hands back the clean image where it failed, and attacks ever smaller subsets, so rows are
    recognised by the bytes of their clean image.
    """

    def __init__(self, attack: Attack, x: Tensor, index: np.ndarray, threat: ThreatModel) -> None:
        self._attack = attack
        self._threat = threat
        self._shape = tuple(x.shape[1:])
        self._rows: dict[bytes, list[int]] = {}  # a list: a data set may hold the same image twice
        for image, row in zip(x.cpu().numpy(), index.tolist(), strict=True):
            self._rows.setdefault(image.tobytes(), []).append(row)
        self._parts: list[Candidates] = []

    def watching(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def watched(x: Tensor, y: Tensor, *args: Any, **kwargs: Any) -> Any:
            result = run(x, y, *args, **kwargs)
            self._keep(x, self._end_points(result))
            return result

        return watched

    def _end_points(self, result: Any) -> Tensor:
        if self._attack == "fab-t":
            return result
        if self._attack == "square":
            return result[1]
        best_loss, accurate, _, fooling = result
        kept = accurate.bool().view(-1, *[1] * (best_loss.dim() - 1))
        return torch.where(kept, best_loss, fooling)

    def _keep(self, x: Tensor, end_points: Tensor) -> None:
        images = inside(end_points.detach(), x, self._threat).cpu().numpy()
        owners = [self._rows[image.tobytes()] for image in x.cpu().numpy()]
        index = np.array([row for rows in owners for row in rows], np.int64)
        images = np.repeat(images, [len(rows) for rows in owners], axis=0)
        self._parts.append(Candidates(index, np.full(len(index), self._attack), images))

    def candidates(self) -> Candidates:
        return Candidates.join(self._parts, self._shape)


@contextmanager
def _warnings() -> Iterator[set[str]]:
    """Collect the names of the warnings that AutoAttack's checks log, and keep them off the terminal."""
    heard: set[str] = set()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            heard.update(name for words, name in _WARNINGS.items() if words in message)

    logger = logging.getLogger("auto-attack")
    listener = Listener(level=logging.WARNING)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def _tracing_kept() -> Iterator[None]:
    """AutoAttack's check for dynamic defences resets the trace function of debuggers and coverage."""
    trace = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)
