"""The trainer: selection by validation, reproducible weights, errors that say where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.distill import TrainConfig, train
from edgeproof.stages.distill.training.selection import pgd_accuracy
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError

CONFIG = TrainConfig.model_validate({"method": "trades", "epochs": 3, "inner": {"steps": 2}, "selection_steps": 3})


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    rows = slice(0, 300)
    return replace(digits, train=digits.train.take(rows), validation=digits.validation.take(slice(0, 100)))


def fresh() -> torch.nn.Module:
    return build_model("cnn8_small", (1, 8, 8), 10, seed=0)


def test_best_is_the_epoch_with_the_best_validation_pgd_and_last_is_the_last(small: Dataset, threat: ThreatModel):
    result = train(fresh(), small, threat, CONFIG)
    scores = [(epoch.pgd_accuracy, epoch.clean_accuracy) for epoch in result.history]
    assert result.best_epoch == scores.index(max(scores))
    model = fresh()
    model.load_state_dict(result.best)
    assert pgd_accuracy(model, small.validation, threat, steps=3, seed=0)[::-1] == max(scores)
    model.load_state_dict(result.last)
    assert pgd_accuracy(model, small.validation, threat, steps=3, seed=0)[::-1] == scores[-1]


def test_the_test_split_is_not_touched(small: Dataset, threat: ThreatModel):
    poison = Split(np.full_like(small.test.images, np.nan), small.test.labels, small.test.index)
    clean = train(fresh(), small, threat, CONFIG)
    poisoned = train(fresh(), replace(small, test=poison), threat, CONFIG)
    assert all(torch.equal(clean.best[name], poisoned.best[name]) for name in clean.best)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small: Dataset, threat: ThreatModel):
    first, second = (train(fresh(), small, threat, CONFIG) for _ in range(2))
    other = train(fresh(), small, threat, CONFIG.model_copy(update={"seed": 1}))
    assert all(torch.equal(first.last[name], second.last[name]) for name in first.last)
    assert not torch.equal(first.last["0.weight"], other.last["0.weight"])


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "multistep", "constant"])
def test_every_schedule_learns(small: Dataset, threat: ThreatModel, schedule: str):
    result = train(fresh(), small, threat, CONFIG.model_copy(update={"schedule": schedule}))
    assert result.history[-1].loss < result.history[0].loss


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_a_number_stops_and_says_where(small: Dataset, threat: ThreatModel):
    config = CONFIG.model_copy(update={"learning_rate": 1e6, "schedule": "constant"})
    with pytest.raises(StageError, match=r"distill: the loss is (nan|inf) at epoch \d+, step \d+; lower distill\.lear"):
        train(fresh(), small, threat, config, where="distill")


def test_distillation_without_a_teacher(small: Dataset, threat: ThreatModel):
    with pytest.raises(UsageError, match=r"distill\.method: 'adaad' needs a teacher"):
        train(fresh(), small, threat, TrainConfig(method="adaad"), where="distill")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "adaat"}, "did you mean 'adaad'"),
        ({"method": "adaad", "options": {"alfa": 1}}, "alfa: unknown option; did you mean 'alpha'"),
        ({"method": "adaad", "options": {"alpha": 2}}, "less than or equal to 1"),
        ({"method": "adaad", "plugins": ["nothing"]}, "unknown plugin 'nothing'"),
        ({"method": "adaad", "epochs": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_settings(settings: dict, words: str):
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate(settings)
