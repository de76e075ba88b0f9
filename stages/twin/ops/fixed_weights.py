"""Constant-weight convolutions: the gradient of their images, as a CPU takes it fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from ...kernels import THIN, thin_conv2d

# Elements of a matrix that stays in a core's cache: half a MiB. Up to there one product with it beats oneDNN's gradient
# of a small convolution three to eight times, though most of it is zeros; measured on 8x8 images, torch 2.14.
SMALL = 2**17

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class FixedConv2d:
    """Kernel of Conv with two spatial axes.

    Args:
        convolve: images `[N, C, H, W]`, weights and bias to the answer.
        thin: the padding where it has stride 1, no groups and no dilation, and pads both sides alike; else None.
    """

    def __init__(self, convolve: Convolve, thin: tuple[int, int] | None) -> None:
        self._convolve = convolve
        self._thin = thin
        self._known: tuple[Tensor, torch.Size, Tensor | None] | None = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve; the answer is always torch's own."""
        if not _only_images_learn(x, weight, bias):
            return self._convolve(x, weight, bias)
        matrix = self._matrix(weight, x.shape[1:])
        if matrix is not None:
            return cast(Tensor, _ByMatrix.apply(x, matrix, lambda images: self._convolve(images, weight, bias)))
        if self._thin is not None and weight.shape[1] <= THIN:
            return thin_conv2d(x, weight, bias, self._thin)
        return self._convolve(x, weight, bias)

    def _matrix(self, weight: Tensor, shape: torch.Size) -> Tensor | None:
        """All of the convolution as one matrix `[outputs, inputs]`; None where that is no small one."""
        if self._known is None or self._known[0] is not weight or self._known[1] != shape:
            self._known = weight, shape, self._as_matrix(weight, shape)
        return self._known[2]

    @torch.no_grad()
    def _as_matrix(self, weight: Tensor, shape: torch.Size) -> Tensor | None:
        inputs = shape.numel()
        if (
            not inputs
            or inputs > SMALL
            or inputs * self._convolve(weight.new_zeros(1, *shape), weight, None).numel() > SMALL
        ):
            return None
        units = torch.eye(inputs, dtype=weight.dtype).view(inputs, *shape)
        return self._convolve(units, weight, None).flatten(1).t().contiguous()


def _only_images_learn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a gradient will be asked for, of the images alone, on a CPU and in float32."""
    learns = weight.requires_grad or (bias is not None and bias.requires_grad)
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() == 4
    return torch.is_grad_enabled() and x.requires_grad and not learns and plain


class _ByMatrix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, convolve: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.shape = x.shape
        return convolve(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (matrix,) = ctx.saved_tensors
        return (grads[0].flatten(1) @ matrix).view(ctx.shape), None, None
