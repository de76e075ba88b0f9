"""Training on a GPU: the same golden step, and a trainer that runs there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import InnerMaximisation, TrainConfig, train
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; torch finds none here"),
]


def test_a_step_on_the_gpu_equals_the_step_on_the_cpu(digits: Dataset):
    x, y = torch.from_numpy(digits.train.images[:32]), torch.from_numpy(digits.train.labels[:32])
    found = []
    for device in ("cpu", "cuda"):
        student, teacher = (
            build_model(name, (1, 8, 8), 10, seed=0).double().to(device) for name in ("cnn8_small", "cnn8_wide")
        )
        inner = InnerMaximisation("Linf", 0.1, 0.025, 5, "none")
        loss, x_adv = AdaAD(AdaADConfig(), student, teacher).step(x.double().to(device), y.to(device), inner)
        found.append((loss.item(), x_adv.cpu()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_the_trainer_uses_the_gpu_and_returns_weights_on_the_cpu(digits: Dataset, threat: ThreatModel):
    small = replace(digits, train=digits.train.take(slice(0, 300)))
    student = build_model("cnn8_small", (1, 8, 8), 10, seed=0)
    result = train(student, small, threat, TrainConfig(method="trades", epochs=2))
    assert next(student.parameters()).is_cuda
    assert all(value.device.type == "cpu" for value in result.best.values())
    assert result.history[-1].loss < result.history[0].loss
