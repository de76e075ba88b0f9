"""Fast FAB: a projection that sorts nothing, and no image asked about twice in a row.

Source: Croce & Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML 2020 (arXiv
1907.02044), algorithm 1 and equations 4 to 8, with the constants and the order of steps of pyautoattack's
`FABAttack.attack_single_run`; the same images up to rounding. Its projection sorts all pixels at every step, which
takes as long as a small network's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyautoattack.fab_projections import projection_l2
from torch import Tensor, nn

from ...bpda import BPDA

# Of the projection: a pixel at least runs out of room at each; a handful is usual.
_MOST_STEPS = 100
# What may be lacking of what is to be made good, in float32.
_LEVEL = 1e-6
_NOWHERE = 1e10
# A walk is left at one of the looks after every so many steps, but not the first, where its nearest image would end so
# many eps away even if it came nearer three times as fast as since the last look. Walks come near in their first steps.
# `benchmarks/hopeless_walks.py` shows how near the walks that are left would come.
_BETWEEN_LOOKS = 10
_FAR, _PACE = 1.3, 3


@torch.no_grad()
def fab_single_run(
    worker: Any, x: Tensor, y: Tensor, aims: Tensor, *, random_start: bool, leave_hopeless: bool = False
) -> Tensor:
    """Walk from each image to the nearest one that is not its label's, by the boundary towards another class.

    Args:
        worker: pyautoattack's attack, whose `predict`, `norm`, `eps`, `n_iter`, `alpha_max`, `eta` and `beta` are used.
        x: `[N, C, H, W]` images that are answered rightly.
        y: `[N]` labels.
        aims: `[N]` the other classes.
        random_start: begin at a random image half an eps away.
        leave_hopeless: end walks that come no nearer while still far outside the ball, which is most of them.

    Returns:
        `[N, C, H, W]` the nearest misclassified images found, at any distance; x itself where there is none.
    """
    shape = (-1, *[1] * (x.dim() - 1))
    ask = _Asked(worker.predict, y, aims)
    point = _random_start(x, worker.norm, worker.eps) if random_start else x.clone()
    found, distance = x.clone(), torch.full((len(x),), _NOWHERE, device=x.device)
    rows, before = torch.arange(len(x), device=x.device), distance.clone()
    for step in range(1, worker.n_iter + 1):
        lead, slope = ask.slope(point)
        from_here, from_clean = _PROJECTIONS[worker.norm](point, x, slope, lead)
        here, clean = (_sizes(move, worker.norm).clamp_min(1e-8) for move in (from_here, from_clean))
        share = (here / (here + clean)).clamp(0, worker.alpha_max).view(shape)
        point = (point + worker.eta * from_here) * (1 - share) + (x + worker.eta * from_clean) * share
        point.clamp_(0, 1)
        wrong = ask.label(point) != ask.y
        apart = _sizes(point - x, worker.norm)
        nearer = wrong & (apart < distance[rows])
        found[rows[nearer]], distance[rows[nearer]] = point[nearer], apart[nearer]
        point[wrong] = x[wrong] + worker.beta * (point[wrong] - x[wrong])
        ask.moved(wrong)
        if leave_hopeless and step % _BETWEEN_LOOKS == 0:
            now = distance[rows]
            looks_left = (worker.n_iter - step) / _BETWEEN_LOOKS
            end = now * (now / before[rows]) ** (_PACE * looks_left)
            far = (end > _FAR * worker.eps) & (before[rows] < _NOWHERE)
            if far.any():
                rows, x, point = rows[~far], x[~far], point[~far]
                ask.keep(~far)
                if not len(rows):
                    break
            before = distance.clone()
    return found


class _Asked:
    """A model's labels, and how far each label leads the class aimed at, with its slope.

    A label and then a slope are asked for, mostly of the very same image. Where the slope is a stand-in's, the model
    is not asked again for that.
    """

    def __init__(self, model: nn.Module | Callable[[Tensor], Tensor], y: Tensor, aims: Tensor) -> None:
        self._model = model
        self.y, self._aims = y, aims
        self._logits: Tensor | None = None
        self._stale = torch.ones_like(y, dtype=torch.bool)

    def label(self, images: Tensor) -> Tensor:
        """`[N]` labels."""
        self._logits = logits = self._model(images)
        self._stale = torch.zeros_like(self._stale)
        return logits.argmax(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the samples."""
        self.y, self._aims, self._stale = self.y[rows], self._aims[rows], self._stale[rows]
        self._logits = None if self._logits is None else self._logits[rows]

    def moved(self, rows: Tensor) -> None:
        """Say of which samples the next images will be others than those of `label`."""
        self._stale = rows

    def slope(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N]` logit aimed at less the label's, and `[N, C, H, W]` its gradient; what is no number is zero."""
        images = images.detach().requires_grad_()
        if isinstance(self._model, BPDA):
            logits = self._answers(images.detach())
            with torch.enable_grad():
                differences = self._differences(self._model.stand_in(images)).sum()
        else:
            with torch.enable_grad():
                logits = self._model(images)
                differences = self._differences(logits).sum()
        (slope,) = torch.autograd.grad(differences, images)
        return self._differences(logits.detach()).nan_to_num(0, 0, 0), slope.nan_to_num(0, 0, 0)

    def _answers(self, images: Tensor) -> Tensor:
        if self._logits is None:
            return self._model(images)
        if self._stale.any():
            self._logits[self._stale] = self._model(images[self._stale])
        return self._logits

    def _differences(self, logits: Tensor) -> Tensor:
        return (logits.gather(1, self._aims[:, None]) - logits.gather(1, self.y[:, None]))[:, 0]


def _random_start(x: Tensor, norm: str, eps: float) -> Tensor:
    noise = torch.rand_like(x) * 2 - 1 if norm == "Linf" else torch.randn_like(x)
    unit = noise / _sizes(noise, norm).view(-1, *[1] * (x.dim() - 1))
    return (x + 0.5 * eps * unit).clamp(0, 1)


def _project_linf(point: Tensor, clean: Tensor, slope: Tensor, lead: Tensor) -> tuple[Tensor, Tensor]:
    """Steps from a point and from the clean image to the plane where label and aim are level, or as near as pixels go.

    With t the start, w the slope and c = |w t - b| what is to be made good, each pixel moves by min(s, its room), where
    sum |w| min(s, room) = c: a concave, piecewise linear function of s, whose root Newton's steps reach from below.

    Args:
        point: `[N, ...]` where the slope was taken.
        clean: `[N, ...]` the clean images.
        slope: `[N, ...]` w.
        lead: `[N]` logit aimed at less the label's at the point.

    Returns:
        Two tensors `[N, ...]`.
    """
    starts, w = torch.stack([point, clean]).flatten(2), slope.flatten(1)
    offset = torch.stack([lead, lead + (w * (starts[1] - starts[0])).sum(1)])
    # So turned that every pixel goes down its slope.
    turned, steep, needed = torch.where(offset[..., None] >= 0, w, -w), w.abs(), offset.abs()
    room = torch.where(turned >= 0, starts, 1 - starts)
    step = needed / steep.sum(1).clamp_min(torch.finfo(w.dtype).tiny)
    moves = torch.minimum(room, step[..., None])
    for _ in range(_MOST_STEPS):
        lacking = needed - torch.einsum("np,knp->kn", steep, moves)
        free = torch.einsum("np,knp->kn", steep, (room > moves).to(w.dtype))
        # Where no pixel is free any more, all have gone as far as they can.
        if not ((lacking > _LEVEL * needed) & (free > 0)).any():
            break
        step = torch.where(free > 0, step + lacking.clamp_min(0) / free, step)
        moves = torch.minimum(room, step[..., None])
    moves = (-moves * turned.sign()).view(2, *point.shape)
    return moves[0], moves[1]


def _project_l2(point: Tensor, clean: Tensor, slope: Tensor, lead: Tensor) -> tuple[Tensor, Tensor]:
    """The same in the L2 norm, by pyautoattack's projection."""
    starts, w = torch.cat([point, clean]).flatten(1), slope.flatten(1)
    level = (w * point.flatten(1)).sum(1) - lead
    moves = projection_l2(starts, torch.cat([w, w]), torch.cat([level, level])).view(2, *point.shape)
    return moves[0], moves[1]


_PROJECTIONS = {"Linf": _project_linf, "L2": _project_l2}


def _sizes(delta: Tensor, norm: str) -> Tensor:
    """`[N]`, rounded as pyautoattack's are: a walk in the L2 norm ends elsewhere for a last bit."""
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "Linf" else (flat**2).sum(1).sqrt()
