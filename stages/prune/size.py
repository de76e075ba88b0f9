"""Parameter and MAC counts of a network."""

from __future__ import annotations

import torch
from torch import nn

from .record import Size


def size_of(model: nn.Module, image_shape: tuple[int, int, int]) -> Size:
    """Count parameters, and the multiply-adds of convolutions and linear layers for one image of shape (C, H, W).

    Whatever PyTorch runs is counted, functions as well as modules: source is torch.utils.flop_counter, which counts a
    multiplication and an addition as two.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton

    device = next(model.parameters()).device
    training = model.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *image_shape, device=device))
    model.train(training)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Size(parameters=parameters, multiply_adds=counter.get_total_flops() // 2)
