"""Backward pass differentiable approximation (BPDA): one model's answers, another one's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class BPDA(nn.Module):
    """Forward is a model, to the last bit; backward is the vector-Jacobian product of a stand-in.

    Source: Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018,
    arXiv 1802.00420, section 4.1. Gradients reach the images only, no parameter.

    Args:
        answer: images `[N, C, H, W]` in [0, 1] to logits `[N, K]`; it need not be differentiable.
        stand_in: a torch module of the same input and output.
    """

    def __init__(self, answer: Callable[[Tensor], Tensor], stand_in: nn.Module) -> None:
        super().__init__()
        self.answer = answer
        self.stand_in = stand_in

    def forward(self, images: Tensor) -> Tensor:
        """Answer images in [0, 1] with the model's logits."""
        return _Answer.apply(images, self.answer, self.stand_in)  # type: ignore[return-value]


class _Answer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, answer: Callable[[Tensor], Tensor], stand_in: nn.Module) -> Tensor:
        ctx.save_for_backward(images)
        ctx.stand_in = stand_in
        return answer(images.detach())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        (images,) = ctx.saved_tensors
        with torch.enable_grad():
            variable = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(ctx.stand_in(variable), variable, grad_outputs[0])
        return gradient, None, None
