"""What the attacks ask, against a count of the gradients that they take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attacks.autoattack import run_attack
from edgeproof.stages.verify.cost import asked_by
from edgeproof.stages.verify.subject.subject import OpenedSubject, in_batches
from torch import Tensor, nn

THREAT = ThreatModel(eps=0.01)  # type: ignore[arg-type]
CLASSES, SAMPLES = 5, 3


class Counted(nn.Module):
    """Far from every border: each class's logit is the brightness of its own pixel; counts the images with slopes."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = self.answers = 0

    def forward(self, images: Tensor) -> Tensor:
        self.answers += len(images)
        self.slopes += len(images) * (torch.is_grad_enabled() and images.requires_grad)
        return 9 * images.flatten(1)[:, :CLASSES]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    labels = torch.arange(SAMPLES)
    images = torch.full((SAMPLES, 1, 3, 3), 0.2)
    images.flatten(1)[torch.arange(SAMPLES), labels] = 0.8
    return images, labels


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t", "fab-t"])
def test_gradients_of_a_sample_that_stands(batch: tuple[Tensor, Tensor], attack: str):
    model = Counted()
    opened = OpenedSubject(in_batches(model), {"autograd": model}, CLASSES)
    (asked,) = asked_by([attack], opened, VerifyConfig(), THREAT, curve=False)
    run_attack(attack, model, *batch, np.arange(SAMPLES), THREAT, classes=CLASSES, seed=0)  # type: ignore[arg-type]
    # APGD takes one more at its start, and AutoAttack's own checks a few.
    assert asked.gradients * SAMPLES <= model.slopes <= (asked.gradients + asked.runs + 3) * SAMPLES


def test_an_engines_routes_name_every_gradient_once():
    model = nn.Identity()
    sources: dict[str, nn.Module] = {"relu": model, "relu-ceiling": model, "joint": model, "surrogate": model}
    opened = OpenedSubject(in_batches(model), sources, 10)
    asked = asked_by(["replay", "whitebox", "square"], opened, VerifyConfig(), THREAT, curve=True)
    assert {each.attack: (each.gradients, each.answers, each.on) for each in asked} == {
        "apgd-ce/relu": (100, 0, "right"),
        "apgd-t/relu": (900, 0, "standing"),
        "fab-t/relu": (270, 0, "standing"),
        "apgd-ce/relu-ceiling": (100, 0, "standing"),
        "apgd-t/relu-ceiling": (900, 0, "standing"),
        "apgd-ce/joint": (100, 0, "standing"),
        "apgd-ce/surrogate": (100, 0, "standing"),
        "apgd-t/surrogate": (900, 0, "standing"),
        "square": (0, 5000, "standing"),
        "curve, wider balls": (300, 0, "standing"),
        "curve, smaller balls": (300, 0, "fallen"),
    }


def test_without_gradients_and_with_three_classes():
    model = nn.Identity()
    blind = OpenedSubject(in_batches(model), {}, 10)
    assert [each.attack for each in asked_by(["whitebox", "square"], blind, VerifyConfig(), THREAT, curve=True)] == [
        "square"
    ]
    few = OpenedSubject(in_batches(model), {"autograd": model}, 3)
    names = [each.attack for each in asked_by(["apgd-t", "fab-t"], few, VerifyConfig(), THREAT, curve=False)]
    assert names == ["fab-t"]  # the targeted loss of APGD needs four classes
