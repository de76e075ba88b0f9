"""Learning-rate schedules."""

from __future__ import annotations

import pytest
import torch
from edgeproof.stages.distill.training.config import TrainConfig
from edgeproof.stages.distill.training.schedule import make_schedule


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "multistep", "constant"])
def test_every_schedule_takes_trainings_of_any_length(schedule: str, steps: int):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    config = TrainConfig.model_validate({"method": "standard", "schedule": schedule, "learning_rate": 0.1})
    scheduler = make_schedule(optimiser, config, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert all(0 < rate <= 0.1 + 1e-9 for rate in rates), rates
