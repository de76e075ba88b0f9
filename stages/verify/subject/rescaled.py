"""Rescaled logits: a gradient for models whose logits saturate the cross-entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .subject import OpenedSubject
from .wrappers import RESCALED, Scaled

# Where the largest logit leads by more, the softmax rounds to one in float32 and its loss to zero.
SATURATED = 15.0
LEAD = 3.0


def with_rescaled(opened: OpenedSubject, clean: np.ndarray, correct: np.ndarray) -> OpenedSubject:
    """Add the first gradient with logits made smaller, where they saturate the cross-entropy.

    Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017 (arXiv 1608.04644),
    on defensive distillation: gradients that vanish for the size of the logits alone come back when they are divided.

    Args:
        opened: what is attacked.
        clean: `[N, K]` its logits of the clean images.
        correct: `[N]` which of them are right.
    """
    if not correct.any() or not opened.gradient_sources:
        return opened
    two = np.sort(np.nan_to_num(clean[correct]), axis=1)[:, -2:]
    lead = float(np.median(two[:, 1] - two[:, 0]))
    if lead <= SATURATED:
        return opened
    first = next(iter(opened.gradient_sources.values()))
    return replace(opened, gradient_sources={**opened.gradient_sources, RESCALED: Scaled(first, LEAD / lead)})
