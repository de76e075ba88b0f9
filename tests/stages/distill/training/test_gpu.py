"""Training on a GPU: the same golden step, and a trainer that runs there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import InnerMaximisation, TrainConfig, TrainingContext, train
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.models import build_model
from edgeproof.stages.norms.base import norms
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import TorchSubject
from edgeproof.stages.verify.subject.subject import in_batches

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
        inner = InnerMaximisation(norms["Linf"], 0.1, 0.025, 5, "none")
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


def test_mixed_precision_on_the_gpu_learns_what_the_cpu_learns(digits: Dataset, threat: ThreatModel):
    settings = {"method": "adaad", "epochs": 6, "precision": "bf16-mixed"}
    found = []
    for accelerator in ("cpu", "cuda"):
        student, teacher = (build_model(name, (1, 8, 8), 10, seed=0) for name in ("cnn8_small", "cnn8_wide"))
        config = TrainConfig.model_validate(settings)
        running = TrainingContext(accelerator=accelerator)
        found.append(train(student, digits, threat, config, teacher=teacher, running=running).history[-1])
    assert found[1].loss == pytest.approx(found[0].loss, rel=0.1)


def test_attacked_classifiers_answer_on_the_gpu_as_on_the_cpu(digits: Dataset, student: Classifier):
    images = digits.test.images[:40]
    on_gpu = TorchSubject("student", student).predictor()(images)
    on_cpu = in_batches(student.load())(images)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)
