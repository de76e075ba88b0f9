"""Smooth form of coarsely quantized students, whose answers are steps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from ..bpda import BPDA


@runtime_checkable
class HasSmoothForm(Protocol):
    """A student that knows how it would answer without its steps."""

    def smooth(self) -> nn.Module | None:
        """The same function without the steps, sharing all weights; None where they are too fine to matter."""
        ...


def searched(model: nn.Module) -> nn.Module:
    """A model as a search for adversarial examples sees it: its own answers, its smooth form's gradients."""
    smooth = model.smooth() if isinstance(model, HasSmoothForm) else None
    return model if smooth is None else BPDA(model, smooth)
