"""Model contract check with two black images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...core.errors import reason_of

PROBES = 2


def fault(
    model: nn.Module,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    told: Callable[[BaseException], str] = reason_of,
) -> str | None:
    """Say in what way a model fails to answer images `[2, C, H, W]` with `[2, classes]`; None where it does not.

    The model is asked in eval mode and left in the mode it was in; `told` words what it raises.
    """
    training = model.training
    try:
        with torch.no_grad():
            answer = model.eval()(torch.zeros(PROBES, *image_shape))
    except (Exception, SystemExit) as error:  # theirs may fail in any way
        return f"fails on images {[PROBES, *image_shape]}: {told(error)}"
    finally:
        model.train(training)
    if not isinstance(answer, Tensor):
        return f"must answer with a tensor of logits, answers with {type(answer).__name__}"
    if list(answer.shape) != [PROBES, classes]:
        return (
            f"must answer images {[PROBES, *image_shape]} with logits {[PROBES, classes]}, "
            f"answers with {list(answer.shape)}"
        )
    return None
