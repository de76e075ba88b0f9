"""Loss terms of distillation objectives: all per sample, `[N, K]` logits to `[N]`."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# What a divergence is divided by besides the batch size: "batchmean" by nothing; "mean" by the number of
# classes, as several official CIFAR-10 scripts do: a tenth of the loss relative to weight decay.
KLScale = Literal["batchmean", "mean"]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """CE(softmax(logits), y) of each sample."""
    return F.cross_entropy(logits, y, reduction="none")


def kl(target: Tensor, prediction: Tensor, *, temperature: float = 1.0, scale: KLScale = "batchmean") -> Tensor:
    """KL(softmax(target/T) || softmax(prediction/T)) of each sample; `scale="mean"` divides it by K.

    Gradients flow into both arguments; detach the target where it must stay fixed.
    """
    divergence = F.kl_div(
        F.log_softmax(prediction / temperature, dim=1),
        F.softmax(target / temperature, dim=1),
        reduction="none",
    ).sum(dim=1)
    return scaled(divergence, prediction, scale)


def distillation(target: Tensor, prediction: Tensor, *, temperature: float, scale: KLScale = "batchmean") -> Tensor:
    """T² KL_T(target || prediction) of each sample (Hinton et al. 2015): T² keeps the gradient's size."""
    return temperature**2 * kl(target, prediction, temperature=temperature, scale=scale)


def kl_with_offset(target: Tensor, prediction: Tensor, *, offset: float, scale: KLScale = "batchmean") -> Tensor:
    """KL of each sample with `offset` inside the target's logarithm: sum_c p_c (log(p_c + offset) - log q_c).

    RSLAD's scripts and those that grew from them add 1e-5. It moves the value by about 1e-4, the gradient
    not at all; 0 is the plain divergence.
    """
    if offset == 0:
        return kl(target, prediction, scale=scale)
    p = F.softmax(target, dim=1)
    divergence = (p * ((p + offset).log() - F.log_softmax(prediction, dim=1))).sum(dim=1)
    return scaled(divergence, prediction, scale)


def scaled(divergence: Tensor, prediction: Tensor, scale: KLScale) -> Tensor:
    """Divide by the number of classes where the scale says so."""
    return divergence if scale == "batchmean" else divergence / prediction.shape[1]


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two predictions: symmetric, in [0, ln 2], with gradients into both."""
    logs = F.log_softmax(first, dim=1), F.log_softmax(second, dim=1)
    middle = torch.logaddexp(*logs) - math.log(2)
    left, right = (F.kl_div(middle, log, reduction="none", log_target=True).sum(dim=1) for log in logs)
    return (left + right) / 2


def gradient_matching(teacher: tuple[Tensor, Tensor], student: tuple[Tensor, Tensor]) -> Tensor:
    """KL between softmax(t(x+d) - t(x-d)) and softmax(s(x+d) - s(x-d)) of each sample.

    Source: IGDM (Lee et al., "Indirect Gradient Matching for Adversarial Robust Distillation", ICLR 2025): the
    difference of the logits along d stands for the input gradient.

    Args:
        teacher: the teacher's logits at x + d and at x - d.
        student: the student's logits at x + d and at x - d.
    """
    return kl(teacher[0] - teacher[1], student[0] - student[1])


def probability(logits: Tensor, y: Tensor) -> Tensor:
    """The probability of the true class."""
    return F.softmax(logits, dim=1).gather(1, y[:, None])[:, 0]
