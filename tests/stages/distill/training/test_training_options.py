"""What the options of a training do, each against an independent reckoning."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.checkpoint import save_weights
from edgeproof.stages.data import Dataset
from edgeproof.stages.data.base import Generated
from edgeproof.stages.distill import Epoch, InnerConfig, TrainConfig, TrainingContext, TrainResult, train
from edgeproof.stages.distill.method import Method
from edgeproof.stages.distill.methods.pgd_at import PgdAt
from edgeproof.stages.distill.training.batches import Batches
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError
from torch import nn

BASE: dict[str, Any] = {"method": "pgd_at", "epochs": 2, "inner": {"steps": 2}, "selection_steps": 2, "batch_size": 64}


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    rows = slice(0, 256)
    return replace(digits, train=digits.train.take(rows), validation=digits.validation.take(slice(0, 64)))


def plain() -> nn.Module:
    """A student without BatchNorm, whose gradient does not depend on how a batch is cut."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


def run(dataset: Dataset, threat: ThreatModel, student: nn.Module | None = None, **settings: Any) -> TrainResult:
    running = settings.pop("running", None)
    config = TrainConfig.model_validate(BASE | settings)
    return train(student or build_model("cnn8_small", (1, 8, 8), 10, seed=0), dataset, threat, config, running=running)


def distance(first: TrainResult, second: TrainResult) -> float:
    return max(float((first.last[name] - second.last[name]).abs().max()) for name in first.last)


def test_accumulation_changes_nothing_but_rounding(small: Dataset, threat: ThreatModel):
    whole, parts = (run(small, threat, plain(), accumulate=count) for count in (1, 3))
    assert distance(whole, parts) < 1e-4
    assert distance(whole, run(small, threat, plain(), seed=1)) > 1e-2


def test_clipping_bounds_the_step(small: Dataset, threat: ThreatModel):
    student = plain()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    only = replace(small, train=small.train.take(slice(0, 64)))  # a single step
    settings = {"epochs": 1, "clip_norm": 0.01, "momentum": 0, "weight_decay": 0, "schedule": "constant"}
    after = run(only, threat, student, learning_rate=0.5, **settings).last
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before]).norm()
    assert float(moved) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_the_budget_of_inner_steps(small: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch):
    calls: dict[int, int] = {}
    original = PgdAt.inner

    def counting(self: Method[Any], x: torch.Tensor, y: torch.Tensor) -> Any:
        objective = original(self, x, y)  # type: ignore[arg-type]

        def counted(x_adv: torch.Tensor) -> torch.Tensor:
            calls[self.epoch] = calls.get(self.epoch, 0) + 1
            return objective(x_adv)

        return counted

    monkeypatch.setattr(PgdAt, "inner", counting)
    run(small, threat, epochs=4, inner={"steps": 1, "budget": [[0.25, 2], [0.75, 5]]})
    batches = 256 // 64
    assert calls == {1: batches, 2: 2 * batches, 3: 2 * batches, 4: 5 * batches}


def test_a_budget_that_falls_back_is_refused():
    with pytest.raises(ValidationError, match="fractions of the epochs must rise"):
        InnerConfig.model_validate({"budget": [[0.5, 5], [0.2, 10]]})


def test_patience_stops_a_training_that_does_not_improve(small: Dataset, threat: ThreatModel):
    # A rate too small to change any answer: no epoch is better than the first.
    result = run(small, threat, plain(), epochs=9, patience=2, learning_rate=1e-12, schedule="constant")
    assert result.stopped_early
    assert len(result.history) == 3
    assert not run(small, threat, patience=2).stopped_early


def test_warm_start(small: Dataset, threat: ThreatModel, tmp_path: Path):
    path = tmp_path / "before.safetensors"
    save_weights(build_model("cnn8_small", (1, 8, 8), 10, seed=7).state_dict(), path, model="cnn8_small")
    still = {"learning_rate": 1e-12, "weight_decay": 0, "schedule": "constant"}
    warm = run(small, threat, warm_start=path, **still)
    expected = build_model("cnn8_small", (1, 8, 8), 10, seed=7).state_dict()
    assert torch.allclose(warm.last["0.weight"], expected["0.weight"], atol=1e-6)
    with pytest.raises(UsageError, match="does not fit"):
        run(small, threat, build_model("cnn8_wide", (1, 8, 8), 10, seed=0), warm_start=path)


def test_the_kept_weights_are_the_averaged_ones(small: Dataset, threat: ThreatModel):
    student = plain()
    ends: list[dict[str, torch.Tensor]] = []
    keep = TrainingContext(on_epoch=lambda _: ends.append({k: v.clone() for k, v in student.state_dict().items()}))
    result = run(small, threat, student, epochs=3, average={"kind": "swa", "start": 0.3}, running=keep)
    for name, value in result.last.items():
        assert torch.allclose(value, (ends[1][name] + ends[2][name]) / 2, atol=1e-6)


def test_bf16_learns_what_float32_learns(digits: Dataset, threat: ThreatModel):
    settings = {"epochs": 6, "inner": {"steps": 4}, "batch_size": 128}
    single, mixed = (run(digits, threat, precision=precision, **settings) for precision in ("32", "bf16-mixed"))
    assert single.history[-1].pgd_accuracy > 0.5
    assert abs(single.history[-1].pgd_accuracy - mixed.history[-1].pgd_accuracy) < 0.08
    assert all(value.dtype != torch.bfloat16 for value in mixed.last.values())


def test_folding_changes_nothing_but_rounding(small: Dataset, threat: ThreatModel):
    folded, unfolded = (run(small, threat, fold=fold, epochs=1) for fold in (True, False))
    assert folded.history[0].loss == pytest.approx(unfolded.history[0].loss, rel=1e-3)


def test_late_augmentations_come_late(small: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []
    original = Method.losses

    def watching(self: Method[Any], x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(float((x == 0).float().mean()))
        return original(self, x, x_adv, y)

    monkeypatch.setattr(Method, "losses", watching)
    run(small, threat, late_augment={"start": 0.5, "operations": [{"cutout": 6}]})
    early, late = np.split(np.array(seen), 2)
    assert late.min() > early.max() + 0.1


def test_out_of_memory_says_what_lowers_it(small: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch):
    def lacking(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Method, "attack", lacking)
    with pytest.raises(StageError, match=r"out of memory with train\.batch_size 64 in 1 part.*raise train\.accumulate"):
        run(small, threat)


@pytest.mark.filterwarnings("ignore")
def test_nan_names_the_kept_state(small: Dataset, threat: ThreatModel, tmp_path: Path):
    def poison(epoch: Epoch) -> None:
        with torch.no_grad():
            student[0].weight.fill_(float("nan"))  # type: ignore[index]

    student = build_model("cnn8_small", (1, 8, 8), 10, seed=0)
    with pytest.raises(
        StageError, match=r"the loss is nan at epoch 2, step 1; .*after epoch 1 is kept in .*resume\.pt"
    ):
        run(small, threat, student, running=TrainingContext(folder=tmp_path, on_epoch=poison))


def test_metrics_are_written(small: Dataset, threat: ThreatModel, tmp_path: Path):
    result = run(small, threat, running=TrainingContext(folder=tmp_path))
    result.save(tmp_path, model="cnn8_small")
    with (tmp_path / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == [1, 2]
    assert float(lines[1]["loss"]) == result.history[1].loss
    assert float(lines[1]["images_per_second"]) > 0


def test_tensorboard(small: Dataset, threat: ThreatModel, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(small, threat, running=TrainingContext(folder=tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    written = [event.value for event in events.Scalars("pgd_accuracy")]
    assert written == pytest.approx([epoch.pgd_accuracy for epoch in result.history])
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["events.out.tfevents.0000000000"]


def test_mlflow(small: Dataset, threat: ThreatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server would do; a test has none
    result = run(small, threat)
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("edgeproof").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["method"] == "pgd_at"
    assert found.data.metrics["loss"] == pytest.approx(result.history[-1].loss)


def test_an_mlflow_that_cannot_be_reached_is_one_line(
    small: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere:///at/all")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI: nowhere:///at/all: "):
        run(small, threat)


def test_every_image_once_an_epoch_and_another_order_the_next(small: Dataset):
    batches = Batches(small, 100, torch.device("cpu"))
    first, second = (torch.cat([labels for _, labels in batches.epoch(seed)]) for seed in (1, 2))
    assert batches.steps == 3
    assert torch.equal(first.sort().values, torch.from_numpy(small.train.labels).sort().values)
    assert not torch.equal(first, second)


def test_generated_images_have_their_share_of_every_batch(small: Dataset):
    white = np.full((40, 1, 8, 8), 255, np.uint8)
    mixed = replace(small, generated=Generated(white, np.full(40, 3, np.int64), 0.25))
    batches = Batches(mixed, 64, torch.device("cpu"))
    shares = []
    for images, labels in batches.epoch(0):
        assert images.dtype == torch.float32
        generated = (images == 1).flatten(1).all(1)
        assert (labels[generated] == 3).all()
        shares.append((len(images), int(generated.sum())))
    assert shares == [(64, 16)] * 4
