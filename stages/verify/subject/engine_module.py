"""BPDA engine module: the engine's own forward, its twin's backward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ....targets.base import Engine, Images, Logits
from ...bpda import BPDA


class AttackableEngine(BPDA):
    """Forward is the engine; backward is the vector-Jacobian product of a stand-in, its twin.

    Args:
        engine: an engine or another forward: float32 `[N, C, H, W]` in, logits `[N, K]` out; it has no gradients.
        twin: a torch module of the same input and output whose Jacobian stands in for the engine's.
    """

    def __init__(self, engine: Engine | Callable[[Images], Logits], twin: nn.Module) -> None:
        def answer(images: Tensor) -> Tensor:
            pixels = np.ascontiguousarray(images.cpu().numpy(), dtype=np.float32)
            return torch.from_numpy(engine(pixels)).to(images.device)

        super().__init__(answer, twin.eval().requires_grad_(False))
