"""A training that is killed at any moment ends with the weights of one that was not."""

from __future__ import annotations

import signal
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import Progress, TrainConfig, TrainingContext, TrainResult, train
from edgeproof.stages.distill.training import snapshot
from edgeproof.stages.distill.training.snapshot import SNAPSHOT, write_snapshot
from edgeproof.stages.models import build_model
from edgeproof.stages.threat import ThreatModel

from tests import warm

BASE: dict[str, Any] = {
    "method": "trades",
    "epochs": 4,
    "inner": {"steps": 2},
    "selection_steps": 2,
    "augment": [{"shift": 1}],
}
# Whatever is carried from one epoch to the next.
CARRIED: dict[str, dict[str, Any]] = {
    "momentum and schedule": {},
    "ema": {"average": {"kind": "ema", "start": 0.25}},
    "swa": {"average": {"kind": "swa", "start": 0.25}},
    "awp": {"awp": {"start": 0.0}},
    "a peer": {"method": "peeraid"},
    "weights of two teachers": {"method": "mtard", "options": {"balance_entropy": True}},
    "weights of classes": {"method": "rslad", "plugins": ["fair", "absld"]},
    "bf16": {"precision": "bf16-mixed"},
}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    rows = slice(0, 256)
    return replace(digits, train=digits.train.take(rows), validation=digits.validation.take(slice(0, 64)))


def run(
    dataset: Dataset, threat: ThreatModel, config: TrainConfig, running: TrainingContext | None = None
) -> TrainResult:
    def network(name: str, seed: int) -> torch.nn.Module:
        return build_model(name, (1, 8, 8), 10, seed=seed)

    return train(
        network("cnn8_small", 0),
        dataset,
        threat,
        config,
        teacher=network("cnn8_wide", 1),
        natural_teacher=network("cnn8_wide", 2),
        peer=network("cnn8_small", 3),
        running=running,
    )


@pytest.mark.parametrize("carried", CARRIED)
def test_it_goes_on_from_the_last_epoch_bit_by_bit(carried: str, small: Dataset, threat: ThreatModel, tmp_path: Path):
    config = TrainConfig.model_validate(BASE | CARRIED[carried])
    whole = run(small, threat, config)

    def kill(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (3, 1):
            raise Killed

    with pytest.raises(Killed):
        run(small, threat, config, TrainingContext(folder=tmp_path, on_step=kill))
    assert (tmp_path / SNAPSHOT).is_file()
    epochs: list[int] = []
    rest = run(
        small, threat, config, TrainingContext(folder=tmp_path, on_epoch=lambda epoch: epochs.append(epoch.epoch))
    )
    assert epochs == [3, 4]
    assert not (tmp_path / SNAPSHOT).exists()
    for name, value in whole.last.items():
        assert torch.equal(value, rest.last[name]), name
    for name, value in whole.best.items():
        assert torch.equal(value, rest.best[name]), name
    assert [(e.loss, e.pgd_accuracy) for e in whole.history] == [(e.loss, e.pgd_accuracy) for e in rest.history]


SCRIPT = """
    import sys, time
    from pathlib import Path
    import torch
    from edgeproof.stages.data import DataConfig, load_dataset
    from edgeproof.stages.distill import TrainingContext, TrainConfig, train
    from edgeproof.stages.models import build_model
    from edgeproof.stages.threat import ThreatModel

    folder = Path(sys.argv[1])
    slow = float(sys.argv[2])
    torch.set_num_threads(1)
    model = build_model("cnn8_small", (1, 8, 8), 10, seed=0)
    config = TrainConfig.model_validate({"method": "trades", "epochs": 3, "inner": {"steps": 2}, "selection_steps": 2})
    running = TrainingContext(folder=folder, on_step=lambda _: time.sleep(slow))
    result = train(model, load_dataset(DataConfig(dataset="digits")), ThreatModel(eps=0.1), config, running=running)
    result.save(folder, model="cnn8_small")
"""


def test_kill_9(tmp_path: Path):
    script = tmp_path / "training.py"
    script.write_text(textwrap.dedent(SCRIPT))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()

    def start(folder: Path, slow: float) -> warm.Process:
        return warm.Process([str(folder), str(slow)], script=script)

    assert start(whole, 0).wait() == 0
    process = start(broken, 0.2)
    deadline = time.monotonic() + 120
    while not (broken / SNAPSHOT).is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)  # somewhere in the second epoch
    assert process.kill() == -signal.SIGKILL
    assert start(broken, 0).wait() == 0
    for name in ("model.safetensors", "last.safetensors"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()


def test_a_full_disk_keeps_the_last_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_snapshot(tmp_path, {"epoch": 1})

    def full(state: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot.torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_snapshot(tmp_path, {"epoch": 2})
    assert snapshot.read_snapshot(tmp_path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == [SNAPSHOT]


def test_a_damaged_snapshot_is_one_line(tmp_path: Path):
    (tmp_path / SNAPSHOT).write_bytes(b"not a snapshot")
    with pytest.raises(StageError, match=r"resume\.pt: damaged; delete it"):
        snapshot.read_snapshot(tmp_path)
