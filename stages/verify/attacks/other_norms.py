"""APGD and a black-box search in balls that pyautoattack does not know.

Source: Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv 2003.01690), algorithm 1, with the checkpoints and the order of steps of
pyautoattack's `APGDAttack.attack_single_run`: in the Linf and the L2 ball, from the same start, the same images up to
rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pyautoattack.checks import check_zero_gradients
from torch import Tensor

from ...margin import margins
from ...norms.base import Norm
from ...threat import ThreatModel
from .random_search import random_search

# How much of a step is new; the rest goes on as the last one went.
_MOMENTUM = 0.75


@torch.no_grad()
def apgd_single_run(worker: Any, x: Tensor, y: Tensor, *, norm: Norm) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`APGDAttack.attack_single_run` in a norm's ball.

    Args:
        worker: pyautoattack's attack, whose `model`, `eps`, `n_iter`, `thr_decr`, checkpoints, and loss with its target
            are used; the random numbers are torch's, seeded by its `perturb`.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.
        norm: of the ball.

    Returns:
        The images of the highest loss, who is answered rightly everywhere `[N]`, those losses `[N]`, and the last
        misclassified images.
    """
    step = torch.full((len(x), *[1] * (x.dim() - 1)), 2.0 * worker.eps, dtype=x.dtype, device=x.device)
    point = norm.start(x, worker.eps)
    loss, right, slope = _asked(worker, point, y)
    if worker.loss != "ce":
        check_zero_gradients(slope, logger=worker.logger)
    before, best, fooling, best_loss, best_slope = point, point.clone(), point.clone(), loss.clone(), slope.clone()
    standing, losses = right, [torch.zeros_like(loss)]  # with which pyautoattack compares the first step's
    period, since, last_loss, halved = worker.n_iter_2, 0, best_loss.clone(), torch.ones_like(right)
    for number in range(worker.n_iter):
        share = _MOMENTUM if number else 1.0
        ahead = _inside(point + step * norm.direction(slope), x, norm, worker.eps)
        moved = point + (ahead - point) * share + (point - before) * (1 - share)
        before, point = point, _inside(moved, x, norm, worker.eps)
        loss, right, slope = _asked(worker, point, y)
        losses.append(loss)
        standing = standing & right
        fooling[~right] = point[~right]
        better = loss > best_loss
        best[better], best_loss[better], best_slope[better] = point[better], loss[better], slope[better]
        since += 1
        if since == period:
            rising = torch.stack([losses[-back] > losses[-back - 1] for back in range(1, period + 1)]).sum(0)
            halve = (rising <= period * worker.thr_decr) | (~halved & (last_loss >= best_loss))
            step[halve] /= 2
            point, slope = point.clone(), slope.clone()
            point[halve], slope[halve] = best[halve], best_slope[halve]
            halved, last_loss, since = halve, best_loss.clone(), 0
            period = max(period - worker.size_decr, worker.n_iter_min)
    return best, standing, best_loss, fooling


def search_single_run(worker: Any, x: Tensor, y: Tensor, *, threat: ThreatModel) -> tuple[None, Tensor]:
    """Square's place: `random_search` from a random point of the ball, with Square's budget.

    Args:
        worker: pyautoattack's Square, whose `predict`, `n_queries` and `seed` are used.
        x: `[N, C, H, W]` images.
        y: `[N]` labels.
        threat: the ball.

    Returns:
        None, as Square does, and the images with the least margins.
    """
    clean, labels = x.cpu().numpy(), y.cpu().numpy()
    points = threat.geometry.start(x, threat.eps).cpu().numpy()

    def ask(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = worker.predict(torch.from_numpy(images).to(x.device)).cpu().numpy()
        found = margins(logits, labels[rows])
        return np.where(np.isfinite(logits).all(1) & (found > 0), found, -np.inf)

    margins_now = ask(points, np.arange(len(points)))
    random_search(ask, clean, points, margins_now, threat, queries=worker.n_queries, seed=worker.seed)
    return None, torch.from_numpy(points).to(x.device)


def _asked(worker: Any, images: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss `[N]`, whether the answer is right `[N]`, and the loss's gradient `[N, C, H, W]`."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = worker.model(images)
        targeted = worker.loss != "ce"
        loss = worker.dlr_loss_targeted(logits, y) if targeted else F.cross_entropy(logits, y, reduction="none")
        (slope,) = torch.autograd.grad(loss.sum(), images)
    return loss.detach(), logits.detach().argmax(1) == y, slope


def _inside(images: Tensor, x: Tensor, norm: Norm, eps: float) -> Tensor:
    return (x + norm.clip(images - x, eps)).clamp(0, 1)
