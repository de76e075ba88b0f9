"""The engine as an attackable module: its own forward, its twin's backward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify.subject.engine_module import AttackableEngine
from edgeproof.targets.base import EngineFile, targets


def test_forward_is_the_engine_to_the_last_bit(int8_engine: EngineFile, int8_onnx: Path, digits: Dataset):
    engine = targets["onnxruntime"].load(int8_engine)
    module = AttackableEngine(engine, load_twin(int8_onnx))
    images = digits.test.images[:20]
    assert np.array_equal(module(torch.from_numpy(images)).numpy(), engine(images))


def test_backward_is_the_twins_vector_jacobian_product(int8_engine: EngineFile, int8_onnx: Path, digits: Dataset):
    twin = load_twin(int8_onnx)
    module = AttackableEngine(targets["onnxruntime"].load(int8_engine), twin)
    vector = torch.randn(5, 10)
    gradients = []
    for model in (module, twin):
        x = torch.from_numpy(digits.test.images[:5]).requires_grad_()
        (model(x) * vector).sum().backward()
        gradients.append(x.grad)
    assert gradients[0] is not None
    assert torch.equal(gradients[0], gradients[1])
    assert gradients[0].abs().sum() > 0


def test_an_empty_batch_passes_through(int8_engine: EngineFile, int8_onnx: Path):
    """Square Attack sends one when all logits tie."""
    module = AttackableEngine(targets["onnxruntime"].load(int8_engine), load_twin(int8_onnx))
    assert module(torch.zeros(0, 1, 8, 8)).shape == (0, 10)


def test_no_gradient_is_spent_where_none_is_asked_for(int8_engine: EngineFile, int8_onnx: Path, digits: Dataset):
    twin = load_twin(int8_onnx)
    calls: list[int] = []
    twin.register_forward_hook(lambda *_: calls.append(1))
    module = AttackableEngine(targets["onnxruntime"].load(int8_engine), twin)
    x = torch.from_numpy(digits.test.images[:3])
    module(x)
    assert not calls
    module(x.requires_grad_()).sum().backward()
    assert len(calls) == 1
