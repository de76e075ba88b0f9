"""Equivalence of pruned and masked network: what was cut away was all that belongs together."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import reason_of
from .record import Cuts

_IMAGES = 8
# Rounding of convolutions with fewer channels; channels that were mixed up differ by the size of the logits.
_TOLERANCE = 1e-3


def mistake(whole: nn.Module, pruned: nn.Module, cuts: Cuts, image_shape: tuple[int, int, int]) -> str | None:
    """Say in what way a pruned network is not the whole one without the cut channels; None where it is.

    The whole network answers with the cut inputs of every layer set to zero. If the dependency graph missed or
    misplaced a coupling (a reshape that reorders channels, say), the pruned one fails, or answers differently.

    Args:
        whole: before the cuts, in eval mode, on the CPU.
        pruned: after them, likewise.
        cuts: in the numbering of `whole`.
        image_shape: channels, height, width.
    """
    images = torch.rand(_IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))
    handles = [
        whole.get_submodule(name).register_forward_pre_hook(partial(_without, removed=torch.tensor(cut.inputs)))
        for name, cut in cuts.items()
        if cut.inputs
    ]
    try:
        with torch.no_grad():
            expected = whole(images)
            found = pruned(images)
    except Exception as error:  # theirs may fail in any way
        return f"without the channels that torch-pruning chose it fails: {reason_of(error)}"
    finally:
        for handle in handles:
            handle.remove()
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= _TOLERANCE:  # also when it is not a number
        return (
            f"torch-pruning mistakes its channels for each other: the logits differ by {difference:.2g} of the largest"
        )
    return None


def _without(layer: nn.Module, arguments: tuple[Any, ...], removed: Tensor) -> tuple[Tensor, ...]:
    x = arguments[0].clone()
    x[(slice(None), removed) if isinstance(layer, nn.Conv2d) else (..., removed)] = 0
    return (x,)
