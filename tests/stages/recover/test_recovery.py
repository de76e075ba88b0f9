"""Stage `recover`: what quantization cost comes back, and nothing is lost where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import TrainingContext
from edgeproof.stages.distill.training.selection import pgd_accuracy
from edgeproof.stages.quantize import CalibrationConfig, quantize_onnx
from edgeproof.stages.recover import RecoverConfig, recover_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import targets
from pydantic import ValidationError
from torch import nn

U8S8 = targets["onnxruntime"].scheme
THREAT = ThreatModel(norm="Linf", eps=0.1)
STUDENT = Path(__file__).parents[2] / "data" / "student.safetensors"


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    """The float student itself: what it knew is what is to come back."""
    return Classifier("cnn8_small", STUDENT, (1, 8, 8), 10).load()


@pytest.fixture(scope="module")
def harmed(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One 4-bit scale a tensor, and activations that are clipped: the robustness suffers more than the accuracy."""
    path = tmp_path_factory.mktemp("harmed") / "model.onnx"
    scheme = replace(U8S8, weight="int4", per_channel=False)
    quantize_onnx(
        float_onnx, path, scheme, digits.train.images[:64], CalibrationConfig(method="percentile", percentile=75)
    )
    return path


def test_what_quantization_cost_comes_back(harmed: Path, teacher: nn.Module, digits: Dataset, tmp_path: Path):
    def robust(model: nn.Module) -> float:
        return pgd_accuracy(model, digits.test, THREAT, steps=20, seed=0)[1]

    lost = robust(teacher) - robust(load_twin(harmed))
    assert lost > 0.04  # else nothing is shown
    recovery = recover_onnx(harmed, RecoverConfig(epochs=8, learning_rate=0.02), teacher, digits, THREAT, tmp_path)
    assert recovery.kept == "recovered"
    assert recovery.pgd_after > recovery.pgd_before
    left = robust(teacher) - robust(load_twin(tmp_path / "model.onnx"))
    print(f"lost {lost:.3f}, left {left:.3f}")
    assert left < 0.7 * lost
    record = json.loads((tmp_path / "recover.json").read_text())
    assert record["pgd_after"] == recovery.pgd_after
    assert record["largest_difference"] < 1e-5
    assert (tmp_path / "training.json").is_file()
    assert (tmp_path / "metrics.csv").is_file()
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert properties["edgeproof.recovered"] == "adaad"


def test_a_training_that_helps_nothing_changes_nothing(
    int8_onnx: Path, teacher: nn.Module, digits: Dataset, tmp_path: Path
):
    untaught = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False).eval()
    few = replace(digits, train=digits.train.take(slice(0, 128)))
    config = RecoverConfig(epochs=1, learning_rate=0.1)
    recovery = recover_onnx(int8_onnx, config, untaught, few, THREAT, tmp_path)
    assert recovery.kept == "original"
    assert recovery.pgd_after == recovery.pgd_before
    before, after = (onnx.load(path).graph for path in (int8_onnx, tmp_path / "model.onnx"))
    assert before == after


def test_a_killed_training_goes_on_to_the_same_file(
    int8_onnx: Path, teacher: nn.Module, digits: Dataset, tmp_path: Path
):
    few = replace(digits, train=digits.train.take(slice(0, 256)))
    config = RecoverConfig(epochs=3)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    recover_onnx(int8_onnx, config, teacher, few, THREAT, tmp_path / "whole")

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    killed = TrainingContext(folder=tmp_path / "killed", on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        recover_onnx(int8_onnx, config, teacher, few, THREAT, tmp_path / "killed", running=killed)
    assert not (tmp_path / "killed" / "model.onnx").exists()
    heard: list[str] = []
    again = TrainingContext(folder=tmp_path / "killed", notice=heard.append)
    recover_onnx(int8_onnx, config, teacher, few, THREAT, tmp_path / "killed", running=again)
    assert heard == ["recover: goes on after epoch 1"]
    whole, resumed = ((tmp_path / name / "model.onnx").read_bytes() for name in ("whole", "killed"))
    assert whole == resumed


@pytest.mark.parametrize("method", ["trades", "rslad", "iad"])
def test_other_methods_teach_a_graph_as_well(
    method: str, int8_onnx: Path, teacher: nn.Module, digits: Dataset, tmp_path: Path
):
    few = replace(digits, train=digits.train.take(slice(0, 128)))
    config = RecoverConfig(method=method, epochs=1, average={"kind": "ema", "start": 0.0})  # type: ignore[arg-type]
    recover_onnx(int8_onnx, config, teacher, few, THREAT, tmp_path)
    x = torch.from_numpy(digits.test.images[:8])
    assert load_twin(tmp_path / "model.onnx")(x).shape == (8, 10)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "peeraid"}, "trains a peer"),
        ({"precision": "bf16-mixed"}, "trained in 32 bits"),
        ({"warm_start": "w.pt"}, "the graph's own weights"),
    ],
)
def test_what_a_graph_cannot_do(settings: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        RecoverConfig.model_validate(settings)
