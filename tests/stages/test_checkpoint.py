"""Checkpoints: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.checkpoint import load_into, read_weights, save_weights
from edgeproof.stages.models import build_model


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return build_model("cnn8_small", (1, 8, 8), 10, seed=0).state_dict()


def test_safetensors_remember_their_model(weights, tmp_path: Path):
    save_weights(weights, tmp_path / "w.safetensors", model="cnn8_small")
    read, model = read_weights(tmp_path / "w.safetensors")
    assert model == "cnn8_small"
    assert all(torch.equal(read[name], weights[name]) for name in weights)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}}])
def test_plain_pickles_are_read_wrapped_or_not(weights, tmp_path: Path, wrap):
    torch.save(wrap(weights), tmp_path / "w.pt")
    read, model = read_weights(tmp_path / "w.pt")
    assert model is None
    assert all(torch.equal(read[name], weights[name]) for name in weights)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-ran",)


def test_a_pickle_that_wants_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="wants to run code"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "evil-ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.safetensors", b"nonsense", "not a valid safetensors file"),
        ("w.pt", b"nonsense", "not a valid PyTorch checkpoint"),
        ("w.pt", b"", "not a valid PyTorch checkpoint"),
        ("w.h5", b"", "a checkpoint is a .safetensors, .pt or .pth file"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_weights(tmp_path / name)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file"):
        read_weights(tmp_path / "w.pt")


def test_shapes_that_do_not_fit_are_named(weights, tmp_path: Path):
    weights = dict(weights)
    weights["0.weight"] = torch.zeros(5, 1, 3, 3)
    weights["extra"] = weights.pop("10.bias")
    model = build_model("cnn8_small", (1, 8, 8), 10, seed=0)
    before = model.state_dict()["0.weight"].clone()
    with pytest.raises(UsageError) as caught:
        load_into(model, weights, path=tmp_path / "w.pt", name="cnn8_small")
    text = str(caught.value)
    assert "0.weight is [5, 1, 3, 3] in the file and [8, 1, 3, 3] in the model" in text
    assert "10.bias [10] is missing in the file" in text
    assert "extra [10] is not in the model" in text
    assert torch.equal(model.state_dict()["0.weight"], before)
