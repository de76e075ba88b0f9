"""Expectation over transformation (EOT) and random search, for shattered gradients (route `probe`).

Sources: Athalye, Carlini & Wagner, ICML 2018 (arXiv 1802.00420), section 4.2: expectation over transformations, here
over noise on the image. Tramèr et al., NeurIPS 2020 (arXiv 2002.08347), section 5: against k-winners-take-all no
gradient at a point is worth anything, differences of losses are.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ...distill.inner import InnerMaximisation
from ...margin import margin, margins
from .. import position
from ..attacks.autoattack import inside
from ..attacks.random_search import random_search
from ..evidence.candidates import Candidates
from ..subject.subject import is_correct
from .base import Batch, Context, Outcome, Route, routes
from .nearest_first import nearest_first

PROBE = "probe"
STEPS = 20
DRAWS = 8
# Of eps: how far around a point its slope is taken.
SPREAD = 0.5
# Of the search, where none has fallen yet.
QUERIES = 800


class Probe(Route):
    """Averaged gradients (EOT), then a random search from where they end.

    What the search breaks, and neither the white box nor averaged gradients, says that gradients lead astray.
    """

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Try the survivors nearest to an error, and all of them, with Square's budget, where one of them falls.

        Where answers come in coarse steps that is known beforehand. How much more a search finds there than gradients
        do, and how little elsewhere, `benchmarks/backward_modes.py` shows.
        """
        opened = context.opened
        thoroughly = partial(self._attack, context=context, queries=context.config.square_queries)
        if opened.coarse:
            return thoroughly(batch)
        quickly = partial(self._attack, context=context, queries=QUERIES)
        tried = context.tried or Candidates.none(tuple(batch.images.shape[1:]))
        return nearest_first(batch, tried, opened.predict, quickly, thoroughly=thoroughly)

    def _attack(self, batch: Batch, context: Context, queries: int) -> Outcome:
        trail = _Trail(batch, context)
        position.step(PROBE, len(batch) * queries)
        trail.ascend_all()
        trail.go_back()
        trail.search(queries)
        return trail.outcome()


def ascend(batch: Batch, context: Context) -> Outcome:
    """Follow averaged gradients, without a search."""
    trail = _Trail(batch, context)
    trail.ascend_all()
    return trail.outcome()


def search(batch: Batch, context: Context, queries: int) -> Outcome:
    """Search from the best points of the routes before, without gradients."""
    trail = _Trail(batch, context)
    trail.go_back()
    trail.search(queries)
    return trail.outcome()


class _Trail:
    """For each sample the point with the least margin so far."""

    def __init__(self, batch: Batch, context: Context) -> None:
        self._batch, self._context = batch, context
        self._labels = batch.labels.numpy()
        self.points = batch.images.numpy().copy()
        self._all = np.arange(len(batch))
        self.margins = self._ask(self.points, self._all)

    def _ask(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        logits, labels = self._context.opened.predict(images), self._labels[rows]
        position.ask(len(images))
        found = margins(np.nan_to_num(logits, nan=0.0), labels)
        found[~is_correct(logits, labels)] = -np.inf
        return found

    def visit(self, images: np.ndarray) -> None:
        """Show the subject a point for each sample; keep the better ones."""
        found = self._ask(images, self._all)
        better = found <= self.margins
        self.points[better], self.margins[better] = images[better], found[better]

    def outcome(self) -> Outcome:
        """Where the trail has led."""
        candidates = Candidates(self._batch.index, np.full(len(self._batch), PROBE), self.points)
        return Outcome(self._context.judge(candidates, self._batch), candidates)

    def ascend_all(self) -> None:
        """Ascend by the first gradient, and by the subject's own where the first is that of its inner logits."""
        for model in list(self._context.opened.gradient_sources.values())[:2]:
            self.ascend(model)

    def ascend(self, model: nn.Module) -> None:
        """Follow the slope of the margin, averaged over noise around each point."""
        threat, batch = self._context.threat, self._batch
        spread = threat.geometry.along_signs(SPREAD * threat.eps, tuple(batch.images.shape[1:]))
        ascent = InnerMaximisation(threat.geometry, threat.eps, 2.5 * threat.eps / STEPS, STEPS, "uniform")

        def objective(x: Tensor) -> Tensor:
            around = torch.cat([x + spread * torch.randn_like(x) for _ in range(DRAWS)]).clamp(0, 1)
            return -margin(model(around), batch.labels.repeat(DRAWS)).sum()

        def after(x: Tensor) -> Tensor:
            self.visit(x.numpy())
            return x

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._context.config.seed)
            ascent.run(objective, batch.images, after=after)

    def go_back(self) -> None:
        """Begin anew at the best point of the routes before, where that is better."""
        batch, tried = self._batch, self._context.tried
        if tried is None:
            return
        tried = tried.of(batch.index)
        if not len(tried):
            return
        rows = tried.rows_in(batch.index)
        images = inside(torch.from_numpy(tried.images), batch.images[rows], self._context.threat).numpy()
        found = self._ask(images, rows)
        for place in np.argsort(-found, kind="stable"):  # the best one of a sample comes last
            row = rows[place]
            if found[place] <= self.margins[row]:
                self.points[row], self.margins[row] = images[place], found[place]

    def search(self, queries: int) -> None:
        """Search the ball from here; see `random_search`."""
        threat, seed = self._context.threat, self._context.config.seed
        clean = self._batch.images.numpy()
        random_search(self._ask, clean, self.points, self.margins, threat, queries=queries, seed=seed)


routes.register(PROBE)(Probe())
