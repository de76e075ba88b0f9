"""Route `probe`: averaged gradients, then a random search from where they end, for models with shattered gradients.

Sources: Athalye, Carlini & Wagner, ICML 2018 (arXiv 1802.00420), section 4.2: expectation over transformations, here
over noise on the image. Tramèr et al., NeurIPS 2020 (arXiv 2002.08347), section 5: against k-winners-take-all no
gradient at a point is worth anything, differences of losses are. The search sets blocks of pixels to the rim of the
ball, as Square does (Andriushchenko et al., ECCV 2020, arXiv 1912.00049), but begins at the end of the ascent.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ...distill.inner import InnerMaximisation
from ...margin import margin, margins
from ..candidates import Candidates
from ..route import Batch, Context, Outcome, Route, routes
from ..subject import is_correct

PROBE = "probe"
STEPS = 20
DRAWS = 8
# Of eps: how far around a point its slope is taken.
SPREAD = 0.5
QUERIES = 400
LARGEST_BLOCK = 0.3
# So many survivors, those nearest to an error, are tried; only where one of them falls are the others.
PROBED = 20


class Probe(Route):
    """What the search breaks, and neither the white box nor averaged gradients, says that gradients lead astray."""

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Try the survivors nearest to an error, and all others where one of them falls."""
        found = margins(context.surface.predict(batch.images.numpy()), batch.labels.numpy())
        near = np.zeros(len(batch), bool)
        near[np.argsort(found, kind="stable")[:PROBED]] = True
        outcome = self._attack(batch.where(near), context)
        broken = np.zeros(len(batch), bool)
        broken[near] = outcome.broken
        found = [outcome.candidates]
        if outcome.broken.any() and not near.all():
            rest = self._attack(batch.where(~near), context)
            broken[~near] = rest.broken
            found.append(rest.candidates)
        return Outcome(broken, Candidates.join(found, tuple(batch.images.shape[1:])))

    def _attack(self, batch: Batch, context: Context) -> Outcome:
        trail = _Trail(batch, context)
        trail.ascend_all()
        if context.threat.norm == "Linf":
            trail.search()
        return trail.outcome()


def ascend(batch: Batch, context: Context) -> Outcome:
    """Follow averaged gradients, without a search."""
    trail = _Trail(batch, context)
    trail.ascend_all()
    return trail.outcome()


class _Trail:
    """For each sample the point with the least margin so far."""

    def __init__(self, batch: Batch, context: Context) -> None:
        self._batch, self._context = batch, context
        self._labels = batch.labels.numpy()
        self.points = batch.images.numpy().copy()
        self.margins = self._ask(self.points)

    def _ask(self, images: np.ndarray) -> np.ndarray:
        logits = self._context.surface.predict(images)
        found = margins(np.nan_to_num(logits, nan=0.0), self._labels)
        found[~is_correct(logits, self._labels)] = -np.inf
        return found

    def visit(self, images: np.ndarray) -> None:
        """Show the subject a point for each sample; keep the better ones."""
        found = self._ask(images)
        better = found <= self.margins
        self.points[better], self.margins[better] = images[better], found[better]

    def outcome(self) -> Outcome:
        """Where the trail has led."""
        candidates = Candidates(self._batch.index, np.full(len(self._batch), PROBE), self.points)
        return Outcome(self._context.judge(candidates, self._batch), candidates)

    def ascend_all(self) -> None:
        """Ascend by the first gradient, and by the subject's own where the first is that of its inner logits."""
        for model in list(self._context.surface.differentiable.values())[:2]:
            self.ascend(model)

    def ascend(self, model: nn.Module) -> None:
        """Follow the slope of the margin, averaged over noise around each point."""
        threat, batch = self._context.threat, self._batch
        spread = SPREAD * threat.eps
        if threat.norm == "L2":
            spread /= float(batch.images[0].numel()) ** 0.5
        ascent = InnerMaximisation(threat.norm, threat.eps, 2.5 * threat.eps / STEPS, STEPS, "uniform")

        def objective(x: Tensor) -> Tensor:
            around = torch.cat([x + spread * torch.randn_like(x) for _ in range(DRAWS)]).clamp(0, 1)
            return -margin(model(around), batch.labels.repeat(DRAWS)).sum()

        def after(x: Tensor) -> Tensor:
            self.visit(x.numpy())
            return x

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._context.config.seed)
            ascent.run(objective, batch.images, after=after)

    def search(self) -> None:
        """Set blocks of ever fewer pixels to the rim of the ball; keep what lessens the margin."""
        random = np.random.default_rng(self._context.config.seed)
        clean, eps = self._batch.images.numpy(), self._context.threat.eps
        count, channels, height, width = clean.shape
        for query in range(QUERIES):
            if np.isneginf(self.margins).all():
                return
            side = max(1, round(LARGEST_BLOCK * min(height, width) * (1 - query / QUERIES)))
            trial = self.points.copy()
            tops = random.integers(0, height - side + 1, count)
            lefts = random.integers(0, width - side + 1, count)
            signs = random.choice([-1.0, 1.0], (count, channels, 1, 1)).astype(np.float32)
            for row, (top, left) in enumerate(zip(tops, lefts, strict=True)):
                block = (row, slice(None), slice(top, top + side), slice(left, left + side))
                trial[block] = clean[block] + eps * signs[row]
            self.visit(trial.clip(0, 1))


routes.register(PROBE)(Probe())
