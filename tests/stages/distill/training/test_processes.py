"""Two processes over gloo learn what one process learns from the same global batches."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.distributed import run as torchrun

from tests import warm

# BatchNorm-free: BatchNorm can be synchronised only on GPUs.
SCRIPT = """
    import json, os, sys
    from dataclasses import replace
    from pathlib import Path
    import torch
    from torch import nn
    from edgeproof.stages.data import DataConfig, load_dataset
    from edgeproof.stages.distill import TrainConfig, TrainingContext, train
    from edgeproof.stages.threat import ThreatModel

    root, devices, all_settings = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)

    def network(width, seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, width, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, 10))

    digits = load_dataset(DataConfig(dataset="digits"))
    # Neither the last batch nor its halves are of equal size.
    digits = replace(digits, train=digits.train.take(slice(0, 301)), validation=digits.validation.take(slice(0, 51)))
    base = {"epochs": 3, "inner": {"steps": 3}, "selection_steps": 3, "batch_size": 64, "augment": [{"shift": 1}]}
    for name, settings in all_settings.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        result = train(
            network(8, 0),
            digits,
            ThreatModel(eps=0.1),
            TrainConfig.model_validate(base | settings),
            teacher=network(12, 1),
            natural_teacher=network(12, 2),
            peer=network(8, 3),
            running=TrainingContext(folder=folder, devices=devices, accelerator="cpu"),
        )
        if os.environ.get("LOCAL_RANK", "0") == "0":
            result.save(folder, model="test")
"""
SETTINGS: dict[str, dict[str, Any]] = {
    "AdaAD": {"method": "adaad"},
    "accumulation, clipping, EMA": {
        "method": "trades",
        "accumulate": 2,
        "clip_norm": 0.5,
        "average": {"kind": "ema", "start": 0.0},
    },
    "weights from all losses": {"method": "mtard"},
    "weights from the batch's least entropy": {"method": "saad"},
    "weights of classes": {"method": "rslad", "plugins": ["fair", "absld"]},
    "a peer": {"method": "peeraid"},
    "AWP": {"method": "pgd_at", "awp": {"start": 0.0}},
}


def run(root: Path, devices: int, settings: dict[str, Any], launcher: tuple[str, ...] = ()) -> Path:
    root.mkdir()
    script = root / "training.py"
    script.write_text(textwrap.dedent(SCRIPT))
    arguments = [str(script), str(root), str(devices), json.dumps(settings)]
    if launcher:
        code, _, err = warm.run([*launcher, *arguments], script=Path(torchrun.__file__))
    else:
        code, _, err = warm.run(arguments[1:], script=script)
    assert code == 0, err
    return root


def losses(folder: Path) -> list[float]:
    return [epoch["loss"] for epoch in json.loads((folder / "training.json").read_text())["history"]]


def same(first: Path, second: Path) -> None:
    assert losses(first) == pytest.approx(losses(second), rel=1e-4)
    ours, theirs = load_file(first / "last.safetensors"), load_file(second / "last.safetensors")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 2e-3


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("processes") / "one", 1, SETTINGS)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("processes") / "two", 2, SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_learn_what_one_learns(name: str, one: Path, two: Path):
    same(one / name, two / name)


@pytest.mark.slow
def test_torchrun(one: Path, tmp_path: Path):
    launcher = ("--nproc-per-node", "2", "--master-port", "29571")
    two = run(tmp_path / "two", 2, {"AdaAD": SETTINGS["AdaAD"]}, launcher)
    same(one / "AdaAD", two / "AdaAD")


@pytest.mark.slow
def test_the_comparison_can_fail(one: Path):
    with pytest.raises(AssertionError):
        same(one / "AdaAD", one / "AWP")
