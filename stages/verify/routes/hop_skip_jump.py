"""HopSkipJump: decision-based attack for subjects that answer with labels alone (route `hop-skip-jump`).

Source: Chen, Jordan & Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P 2020
(arXiv 1904.02144), as in the Adversarial Robustness Toolbox.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ....core.errors import BackendMissing
from ..attacks.autoattack import inside
from ..evidence.candidates import Candidates
from .base import Batch, Context, Outcome, Route, routes

HARD_LABEL = "hop-skip-jump"


def check_installed() -> None:
    """Raise BackendMissing where the toolbox is not installed."""
    try:  # another package is called art as well
        found = find_spec("art.attacks")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise BackendMissing(
            "a model that answers labels alone is attacked by HopSkipJump: pip install 'edgeproof[labels]'"
        )


class HopSkipJump(Route):
    """Walks along the decision boundary; its end points count where they lie in the ball."""

    def run(self, batch: Batch, context: Context) -> Outcome:
        """Walk from a misclassified image towards each sample.

        Raises:
            BackendMissing: the toolbox is not installed.
        """
        check_installed()
        from art.attacks.evasion import HopSkipJump as Attack
        from art.estimators.classification import BlackBoxClassifier

        logging.getLogger("art").setLevel(logging.ERROR)
        classifier: Any = BlackBoxClassifier(
            lambda images: np.nan_to_num(context.opened.predict(np.asarray(images, np.float32))),
            input_shape=tuple(batch.images.shape[1:]),
            nb_classes=context.opened.classes,
            clip_values=(0.0, 1.0),
        )
        attack: Any = Attack(
            classifier,
            batch_size=256,
            norm=context.threat.geometry.order,
            max_iter=context.config.hard_label_iterations,
            max_eval=1000,
            init_eval=50,
            verbose=False,
        )
        state = np.random.get_state()
        np.random.seed(context.config.seed)
        try:
            ends = attack.generate(x=batch.images.numpy(), y=np.eye(context.opened.classes)[batch.labels.numpy()])
        finally:
            np.random.set_state(state)
        ends = inside(torch.from_numpy(np.asarray(ends, np.float32)), batch.images, context.threat).numpy()
        found = Candidates(batch.index, np.full(len(batch), "hop-skip-jump"), ends)
        return Outcome(context.judge(found, batch), found)


routes.register(HARD_LABEL)(HopSkipJump())
