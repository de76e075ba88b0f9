"""The divergences that distillation objectives are made of."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

# "batchmean" divides the summed divergence by the batch size B; "mean" by B times the number of classes, as
# several official CIFAR-10 scripts do: a tenth of the loss relative to weight decay.
KLScale = Literal["batchmean", "mean"]


def kl(target: Tensor, prediction: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(softmax(target/T) || softmax(prediction/T)) of each sample, `[N, K]` logits to `[N]`.

    Gradients flow into both arguments; detach the target where it must stay fixed.
    """
    return F.kl_div(
        F.log_softmax(prediction / temperature, dim=1),
        F.softmax(target / temperature, dim=1),
        reduction="none",
    ).sum(dim=1)


def reduce_kl(per_sample: Tensor, classes: int, scale: KLScale) -> Tensor:
    """Average per-sample divergences over the batch, by either convention."""
    mean = per_sample.mean()
    return mean if scale == "batchmean" else mean / classes
