"""The engine as a torch module that can be attacked: its own forward, its twin's backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...targets.base import Engine


class AttackableEngine(nn.Module):
    """Forward is the engine, to the last bit; backward is the vector-Jacobian product of a stand-in.

    This is backward pass differentiable approximation (Athalye, Carlini & Wagner, ICML 2018,
    arXiv 1802.00420, section 4.1), with the engine's twin as the approximation.

    Args:
        engine: float32 `[N, C, H, W]` in, logits `[N, K]` out; it has no gradients.
        twin: a torch module of the same input and output whose Jacobian stands in for the engine's.
    """

    def __init__(self, engine: Engine, twin: nn.Module) -> None:
        super().__init__()
        self._engine = engine
        self.twin = twin.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Answer images in [0, 1] with the engine's logits."""
        return _EngineForward.apply(images, self._engine, self.twin)


class _EngineForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, engine: Engine, twin: nn.Module) -> Tensor:
        ctx.save_for_backward(images)
        ctx.twin = twin
        pixels = np.ascontiguousarray(images.detach().cpu().numpy(), dtype=np.float32)
        return torch.from_numpy(engine(pixels)).to(images.device)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        (images,) = ctx.saved_tensors
        with torch.enable_grad():
            variable = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(ctx.twin(variable), variable, grad_outputs[0])
        return gradient, None, None
