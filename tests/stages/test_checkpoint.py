"""Checkpoints: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.checkpoint import load_into, read_checkpoint, read_weights, save_weights
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


def behind(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in weights.items()}


def counted(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}


SAVED = {
    "ddp": ("w.pt", lambda w: {"epoch": 3, "state_dict": behind("module.", w)}),
    "compiled in ddp": ("w.pt", lambda w: behind("module._orig_mod.", w)),
    "ddp in compiled": ("w.pt", lambda w: behind("_orig_mod.module.", w)),
    "all of them": ("w.ckpt", lambda w: {"state_dict": behind("model._orig_mod.module.", w), "hyper_parameters": {}}),
    "Lightning, and a loss": ("w.ckpt", lambda w: {"state_dict": {**behind("net.", w), "loss.w": torch.ones(2)}}),
    "a compiled part": ("w.pt", lambda w: {name.replace(".", "._orig_mod.", 1): value for name, value in w.items()}),
    "AveragedModel": ("w.pt", lambda w: {"n_averaged": torch.tensor(7), **behind("module.", w)}),
    "nested": ("w.pth.tar", lambda w: {"checkpoint": {"ema": {"module": w, "decay": 0.9}}, "epoch": 3}),
    "no batches counted": ("w.pt", counted),
    "numpy and arguments": (
        "w.bin",
        lambda w: {
            "state_dict": w,
            "best": np.float64(0.9),
            "seen": np.int64(3),
            "losses": np.ones(3, np.float32),
            "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        },
    ),
    "with an optimizer": (
        "w.pt",
        lambda w: {"net": w, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}},
    ),
    "half precision": ("w.pt", lambda w: {k: v.half() if v.is_floating_point() else v for k, v in w.items()}),
}


@pytest.mark.parametrize("case", SAVED)
def test_what_training_scripts_save(weights, tmp_path: Path, case: str):
    name, made = SAVED[case]
    torch.save(made(weights), tmp_path / name)
    model = build_model("cnn8_small", (1, 8, 8), 10, seed=1)
    found = read_checkpoint(tmp_path / name, model.state_dict())
    load_into(model, found.weights, path=tmp_path / name, name="cnn8_small")
    own = model.state_dict()
    assert all(torch.allclose(own[name], weights[name], atol=1e-3) for name in counted(weights))
    assert found.choice is None


def test_a_models_own_names_may_begin_like_a_wrappers(tmp_path: Path):
    model = torch.nn.ModuleDict({"module": torch.nn.ModuleDict({"model": torch.nn.Linear(2, 3)})})
    torch.save(behind("module.", model.state_dict()), tmp_path / "w.pt")
    found = read_checkpoint(tmp_path / "w.pt", model.state_dict())
    assert found.weights.keys() == model.state_dict().keys()


def test_averaged_weights_are_taken_and_the_choice_is_said(weights, tmp_path: Path):
    raw = {name: value + 1 for name, value in weights.items()}
    torch.save({"state_dict": raw, "state_dict_ema": weights}, tmp_path / "timm.pt")
    torch.save({"state_dict": behind("model.", raw) | behind("ema_model.module.", weights)}, tmp_path / "one.ckpt")
    torch.save({"model": raw | behind("ema.", weights)}, tmp_path / "beside.pt")
    places = {
        "timm.pt": "state_dict_ema",
        "one.ckpt": "state_dict:ema_model.module",
        "beside.pt": "model:ema",
    }
    for name, place in places.items():
        for asked, expected in ((None, weights), ("ema", weights), ("raw", raw), (place, weights)):
            found = read_checkpoint(tmp_path / name, weights, weights=asked)
            assert all(torch.equal(found.weights[key], value) for key, value in expected.items()), (name, asked)
            assert (found.choice is None) == (asked is not None)
        said = read_checkpoint(tmp_path / name, weights).choice or ""
        assert f"averaged weights ({place}) and raw ones (" in said
        assert "weights: raw takes the others" in said


def test_averaged_weights_that_lack_some_are_not_taken_in_silence(weights, tmp_path: Path):
    averaged = {name: value + 1 for name, value in weights.items() if "running" not in name}
    torch.save({"model": weights, "ema": averaged}, tmp_path / "w.pt")
    found = read_checkpoint(tmp_path / "w.pt", weights)
    assert torch.equal(found.weights["0.weight"], weights["0.weight"])
    assert "its averaged weights (ema) lack" in (found.choice or "")
    with pytest.raises(UsageError, match=r"holds no averaged weights of this model \(it has: model\)"):
        read_checkpoint(tmp_path / "w.pt", weights, weights="ema")


def test_of_several_models_one_must_be_named(weights, tmp_path: Path):
    other = {name: value + 1 for name, value in weights.items()}
    torch.save({"teacher": other, "student": weights}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="several models: teacher, student; say which with weights: teacher"):
        read_checkpoint(tmp_path / "w.pt", weights)
    found = read_checkpoint(tmp_path / "w.pt", weights, weights="student")
    assert torch.equal(found.weights["0.weight"], weights["0.weight"])
    with pytest.raises(UsageError, match=r"no weights under 'peer' \(it has: teacher, student\)"):
        read_checkpoint(tmp_path / "w.pt", weights, weights="peer")


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-ran",)


def test_a_pickle_that_wants_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"wants to run code when it is loaded \(\w+\.system\)"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "evil-ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.safetensors", b"nonsense", "not a valid safetensors file"),
        ("w.pt", b"nonsense", "not a valid PyTorch checkpoint"),
        ("w.pt", b"", "not a valid PyTorch checkpoint"),
        ("w.h5", b"", "a checkpoint is a .safetensors, .pt, .pth, .ckpt, .tar or .bin file"),
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
