"""Adversarial weight perturbation (AWP): the loss is lowered where nearby weights make it worst.

Source: Wu, Xia & Wang, "Adversarial Weight Perturbation Helps Robust Generalization", NeurIPS 2020 (arXiv 2004.05884),
eqs. 7 to 10; official code: github.com/csdongxian/AWP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import nn

from ....core.config import Config


class AwpConfig(Config):
    """How far weights are perturbed.

    Attributes:
        gamma: the length of the perturbation relative to the weights, in every layer. The official TRADES-AWP
            script has 0.005.
        start: the fraction of the epochs after which perturbing begins; officially 10 of 200.
    """

    gamma: float = Field(default=0.005, gt=0)
    start: float = Field(default=0.05, ge=0, lt=1)


@contextmanager
def perturbed(model: nn.Module, gamma: float) -> Iterator[None]:
    """Hold a model's weights at w + v, v = gamma * |w| * g / |g| in every layer, with g the gradient found in `.grad`.

    Before: compute the loss and call backward, under `frozen_statistics`. Inside: gradients are cleared; compute the
    loss again and call backward. After: the weights are bit-equal to what they were, and the gradients at w + v are
    there for the optimiser. An exception, too, leaves the weights as they were.

    The official code takes one step of plain SGD on a copy of the model, up the loss, and scales the difference to
    gamma * |w|: as the step is a multiple of g, this is the same v. As there, only parameters of more than one
    dimension with "weight" in their names move, neither biases nor BatchNorm. There, weights are restored after the
    optimiser's step, which therefore decays w + v; here before it, so that it decays w.

    Only `.grad` is read, so that in distributed training every process moves alike.

    Args:
        model: the model that learns, wrapped or not.
        gamma: the relative length, above 0.
    """
    kept = [
        (parameter, parameter.detach().clone())
        for name, parameter in model.named_parameters()
        if "weight" in name and parameter.dim() > 1 and parameter.grad is not None
    ]
    with torch.no_grad():
        for parameter, weight in kept:
            gradient = parameter.grad
            assert gradient is not None
            length = gradient.norm().clamp(min=torch.finfo(gradient.dtype).tiny)  # a zero gradient moves nothing
            parameter.add_(gradient * (gamma * weight.norm() / length))
    for parameter in model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        # Copied back: subtracting v would leave rounding errors that add up over a training.
        with torch.no_grad():
            for parameter, weight in kept:
                parameter.copy_(weight)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Hold the running statistics of a model's BatchNorms still; in train mode they go on using the batch's.

    For forwards that are no part of the training itself, such as the one whose gradient `perturbed` follows.
    """
    tracking = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for module in tracking:
        module.track_running_stats = False  # in train mode: no update; in eval mode the statistics are used as before
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
