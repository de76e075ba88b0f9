"""Normalisation inside the model, and on its way through a weight file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.checkpoint import read_checkpoint, read_weights, save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.normalization import Normalization, Normalized
from edgeproof.targets.onnxruntime.target import open_session
from pydantic import ValidationError
from torch import nn

CIFAR = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))


def test_it_is_the_formula_channel_by_channel():
    images = torch.rand(2, 3, 4, 4)
    found = Normalized(nn.Identity(), CIFAR, 3, "here")(images)
    for channel, (mean, std) in enumerate(zip(CIFAR.mean, CIFAR.std, strict=True)):
        assert torch.allclose(found[:, channel], (images[:, channel] - mean) / std)


def test_one_number_stands_for_all_channels():
    images = torch.rand(2, 3, 4, 4)
    found = Normalized(nn.Identity(), Normalization(mean=(0.5,), std=(0.5,)), 3, "here")(images)
    assert torch.allclose(found, 2 * images - 1)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ((), (), "needs one number, or one a channel"),
        ((0.5,), (0.0,), "must be above 0"),
        ((0.5,), (-1.0,), "must be above 0"),
        ((0.5, 0.5), (1.0,), "mean has 2 numbers and std 1; both need as many"),
    ],
)
def test_numbers_that_are_none(mean: tuple[float, ...], std: tuple[float, ...], words: str):
    with pytest.raises(ValidationError, match=words):
        Normalization(mean=mean, std=std)


def test_another_number_of_channels():
    with pytest.raises(UsageError, match=r"^teacher\.normalize: has 3 numbers, the images have 1 channel$"):
        Normalized(nn.Identity(), CIFAR, 1, "teacher.normalize")


def test_a_weight_file_brings_it_back_as_it_was(tmp_path: Path):
    """The classifier rebuilt from the file takes pixels, in any process and in an exported graph."""
    path = tmp_path / "w.safetensors"
    network = build_model("cnn8_small", (3, 8, 8), 10, seed=0).eval()
    save_weights(network.state_dict(), path, model="cnn8_small", normalize=CIFAR)
    assert read_checkpoint(path).normalize == CIFAR
    assert read_weights(path)[1] == "cnn8_small"
    classifier = Classifier("cnn8_small", path, (3, 8, 8), 10)
    images = torch.rand(4, 3, 8, 8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (CIFAR.mean, CIFAR.std))
    with torch.no_grad():
        expected = network((images - mean) / std)
        assert torch.equal(classifier.load()(images), expected)
        assert not torch.allclose(network(images), expected, atol=1e-3)
    export_onnx(classifier.load(), (3, 8, 8), tmp_path / "m.onnx", opset=18)
    session = open_session(tmp_path / "m.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert np.abs(found - expected.numpy()).max() < 1e-4
    assert classifier.parameters() == sum(parameter.numel() for parameter in network.parameters())


def test_a_file_without_one_has_none(tmp_path: Path):
    save_weights({"w": torch.zeros(1)}, tmp_path / "w.safetensors", model="net")
    assert read_checkpoint(tmp_path / "w.safetensors").normalize is None


def test_tied_weights_are_saved_twice(tmp_path: Path):
    tied = torch.rand(3)
    save_weights({"a": tied, "b": tied}, tmp_path / "w.safetensors", model="net")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")[0]["b"], tied)
