"""Our attacks, in AutoAttack standard's order, against flags recorded from the official code (data/README.md, 8)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.data import Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attacks.autoattack import STANDARD
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.shards.shard import attack_shard
from edgeproof.stages.verify.subject.subject import OpenedSubject, Predict, in_batches
from safetensors.torch import load_file
from torch import nn

from tests.golden.golden_networks import WIDTHS, tiny

ROOT = Path(os.environ.get("EDGEPROOF_GOLDEN", Path(__file__).parent / "data"))
RUNS = json.loads((ROOT / "golden.json").read_text())["autoattack"]


class Rounded(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(torch.round(31 * x) / 31)


@dataclass(frozen=True)
class Golden:
    name: str

    def open(self) -> OpenedSubject:
        base = self.name.removesuffix("_round31")
        first, second = WIDTHS[base]
        model = tiny(first, second, 10)
        model.load_state_dict(load_file(ROOT / "models" / f"{base}_c10.safetensors"))
        model = model.eval().requires_grad_(False)
        if base != self.name:
            model = Rounded(model)
        return OpenedSubject(in_batches(model), {"autograd": model}, 10)

    def predictor(self) -> Predict:
        return self.open().predict


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RUNS))
def test_flags_after_every_attack(name: str):
    case = RUNS[name]
    gold = np.load(ROOT / case["file"])
    batch = load_file(ROOT / "batch_autoattack_c10.safetensors")
    split = Split(batch["x"].numpy(), batch["y"].numpy(), np.arange(len(batch["y"])))
    found = attack_shard(
        Golden(case["model"]),
        split,
        ThreatModel(eps=case["eps"]),
        VerifyConfig(),
        STANDARD,
        Candidates.none((3, 8, 8)),
    )
    assert np.array_equal(found.clean_correct, gold["flags/clean"])
    for attack in STANDARD:
        assert np.array_equal(found.bits[attack], gold[f"flags/{attack}"]), attack
