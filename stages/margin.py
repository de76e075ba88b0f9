"""Logit margin: how far the label's logit leads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..targets.base import Logits


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `[N]`: the logit of the label less the largest other one, with its gradient; below zero it is wrong.

    Args:
        logits: `[N, K]`.
        labels: `[N]`.
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return own - others


def margins(logits: Logits, labels: np.ndarray) -> np.ndarray:
    """`margin` of arrays."""
    return margin(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
