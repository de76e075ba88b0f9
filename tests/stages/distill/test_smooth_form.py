"""A search for adversarial examples goes through a student's smooth form, and is judged by its own answers."""

from __future__ import annotations

import torch
from edgeproof.stages.distill.smooth_form import searched
from torch import Tensor, nn


class Stairs(nn.Module):
    """Steps without a slope; its smooth form is a ramp."""

    def __init__(self, smooth: bool = True) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(3.0))
        self._smooth = smooth

    def forward(self, x: Tensor) -> Tensor:
        return (self.slope * x).floor()

    def smooth(self) -> nn.Module | None:
        return Ramp(self) if self._smooth else None


class Ramp(nn.Module):
    def __init__(self, stairs: Stairs) -> None:
        super().__init__()
        self.stairs = stairs

    def forward(self, x: Tensor) -> Tensor:
        return self.stairs.slope * x


def test_its_own_answers_and_the_smooth_gradients():
    stairs = Stairs()
    x = torch.tensor([[0.3, 0.9]], requires_grad=True)
    answer = searched(stairs)(x)
    assert torch.equal(answer, stairs(x))
    answer.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[3.0, 3.0]]


def test_what_has_no_steps_is_asked_itself():
    fine, plain = Stairs(smooth=False), nn.Linear(2, 2)
    assert searched(fine) is fine
    assert searched(plain) is plain
