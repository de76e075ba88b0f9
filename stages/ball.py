"""The threat model's norm balls, as tensors."""

from __future__ import annotations

from torch import Tensor

from .threat import Norm


def norms(delta: Tensor) -> Tensor:
    """L2 norm of each sample, `[N, C, H, W]` to `[N, 1, 1, 1]`; at least 1e-12, so that it can divide."""
    return delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (delta.dim() - 1))


def sizes(delta: Tensor, norm: Norm) -> Tensor:
    """How large each sample's perturbation is in the norm, `[N, C, H, W]` to `[N]`."""
    return delta.flatten(1).abs().amax(1) if norm == "Linf" else norms(delta).flatten()


def clip_to_ball(delta: Tensor, norm: Norm, eps: float) -> Tensor:
    """Project each sample's perturbation onto the ball of radius `eps`."""
    return delta.clamp(-eps, eps) if norm == "Linf" else delta * (eps / norms(delta)).clamp(max=1)
