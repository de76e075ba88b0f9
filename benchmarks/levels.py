"""What is true of a network behind a rounding of its pixels: no gradient of the rounding is needed to know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from edgeproof.stages.margin import margin
from torch import nn

STARTS = 400
STEPS = 300
# Of the distance between the outermost levels: how far a step goes, in the three thirds of a search.
REACHES = (0.2, 0.06, 0.02)

ToLevels = Callable[[np.ndarray], np.ndarray]
LEVELS: dict[str, ToLevels] = {
    "rounding": lambda pixels: np.rint(pixels * np.float32(31)) / np.float32(31),
    "bit depth": lambda pixels: np.floor(pixels * np.float32(15) + np.float32(0.5)) / np.float32(15),
}


def withstands_all_levels(network: nn.Module, image: np.ndarray, label: int, eps: float, to_levels: ToLevels) -> bool:
    """Search the images that a ball looks like through a rounding, with the gradients of the network behind it.

    A pixel's levels lie between those of the ball's ends, which are levels themselves; the search may stop between two
    levels as well, so that what it does not break withstands more than the rounded ball.

    Args:
        network: the undefended network, which is differentiable.
        image: `[C, H, W]`.
        label: its class.
        eps: of the Linf ball.
        to_levels: the rounding.
    """
    ends = (np.clip(image + sign * np.float32(eps), 0, 1) for sign in (np.float32(-1), np.float32(1)))
    low, high = (torch.from_numpy(to_levels(end).astype(np.float32)) for end in ends)
    random = torch.Generator().manual_seed(0)
    points = low + (high - low) * torch.rand(STARTS, *image.shape, generator=random)
    labels = torch.full((STARTS,), label)
    for reach in np.repeat(REACHES, STEPS // len(REACHES)):
        points = points.detach().requires_grad_()
        margins = margin(network(points), labels)
        if (margins <= 0).any():
            return False
        (slope,) = torch.autograd.grad(margins.sum(), points)
        points = torch.minimum(torch.maximum(points - float(reach) * (high - low) * slope.sign(), low), high)
    return True
