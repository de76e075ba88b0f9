"""Random weights in no time: large tensors repeat one drawn block. For tests that no weight's value matters to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

_BLOCK = 2**15


def _by_the_block(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def drawn(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if tensor.numel() <= _BLOCK or not tensor.is_contiguous():
            return draw(tensor, *arguments, **options)
        with torch.no_grad():
            block = draw(torch.empty(_BLOCK, dtype=tensor.dtype), *arguments, **options)
            flat, whole = tensor.detach().view(-1), tensor.numel() // _BLOCK * _BLOCK
            flat[:whole].view(-1, _BLOCK).copy_(block.expand(whole // _BLOCK, _BLOCK))
            flat[whole:].copy_(block[: len(flat) - whole])
        return tensor

    return drawn


@pytest.fixture(scope="module", autouse=True)
def quick_weights() -> Iterator[None]:
    """Hundreds of millions of weights would take most of the time of what only asks for shapes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("uniform_", "normal_"):
            patch.setattr(Tensor, name, _by_the_block(getattr(Tensor, name)))
        yield
