"""Our methods against one training step of their authors' own code (see data/README.md).

EDGEPROOF_GOLDEN names another folder of vectors of the same layout.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.distill.method import methods
from golden_networks import WIDTHS, tiny
from safetensors.torch import load_file
from torch import nn

ROOT = Path(os.environ.get("EDGEPROOF_GOLDEN", Path(__file__).parent / "data"))
META = json.loads((ROOT / "golden.json").read_text())


def adaad_options(case: dict[str, Any]) -> dict[str, Any]:
    scale = {"mean over B*C": "mean", "sum / B": "batchmean"}[case["hyperparameters"]["reduction"]]
    return {"alpha": case["hyperparameters"]["alpha"], "kl_scale": scale}


def trades_options(case: dict[str, Any]) -> dict[str, Any]:
    return {"beta": case["hyperparameters"]["beta"]}


# What we claim: every vector of these methods is run, none is skipped.
CLAIMED = {"adaad": adaad_options, "trades": trades_options}
CASES = sorted(name for name, case in META["cases"].items() if case["method"] in CLAIMED)


@dataclass
class Step:
    """One training step of ours beside the recorded one."""

    x_adv: torch.Tensor
    first_iterate: torch.Tensor
    inner_objective: torch.Tensor
    loss: torch.Tensor
    student: nn.Module
    teacher: nn.Module


def network(name: str, case: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    classes = case["num_classes"]
    model = tiny(*WIDTHS[name], classes)
    model.load_state_dict(load_file(ROOT / "models" / f"{name}_c{classes}.safetensors"))
    return model.to(dtype).train(case["initial_modes"][name] == "train")


def run(case: dict[str, Any], dtype: torch.dtype) -> Step:
    parameters = case["hyperparameters"]
    student, teacher = network("student", case, dtype), network("teacher", case, dtype)
    method_class = methods[case["method"]]
    options = CLAIMED[case["method"]](case)
    method = method_class(method_class.Config(**options), student, teacher if method_class.needs_teacher else None)
    batch = load_file(ROOT / f"batch_c{case['num_classes']}.safetensors")
    x, y = batch["x"].to(dtype), batch["y"]
    start = torch.from_numpy(np.load(ROOT / f"starts_c{case['num_classes']}.npz")[case["start"]]).to(dtype)

    iterates: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    original = method.inner

    def recording(x: torch.Tensor, y: torch.Tensor) -> Any:
        objective = original(x, y)

        def recorded(x_adv: torch.Tensor) -> torch.Tensor:
            value = objective(x_adv)
            iterates.append(x_adv.detach().clone())
            values.append(value.detach())
            return value

        return recorded

    method.inner = recording  # type: ignore[method-assign]
    maximisation = InnerMaximisation("Linf", parameters["eps"], parameters["step"], parameters["K"])
    loss, x_adv = method.step(x, y, maximisation, start=start)
    loss.backward()
    return Step(x_adv, iterates[1], torch.stack(values), loss.detach(), student, teacher)


def test_every_claimed_method_has_vectors():
    assert {META["cases"][name]["method"] for name in CASES} == set(CLAIMED)


@pytest.mark.parametrize("name", CASES)
def test_float64(name: str):
    case = META["cases"][name]
    gold = np.load(ROOT / case["file"])
    tolerance = case["tolerance"]["float64"]
    step = run(case, torch.float64)

    def close(ours: torch.Tensor, key: str, atol: float, rtol: float = 0.0) -> None:
        np.testing.assert_allclose(ours.detach().numpy(), gold[key], atol=atol, rtol=rtol, err_msg=key)

    np.testing.assert_allclose(step.inner_objective[0], gold["inner_objective"][0], rtol=1e-9)
    close(step.first_iterate, "x_step_01", tolerance["x_adv_atol"])
    np.testing.assert_allclose(step.inner_objective, gold["inner_objective"], rtol=1e-7)
    close(step.x_adv, "x_adv", tolerance["x_adv_atol"])
    close(step.loss.reshape(1), "loss", 0, tolerance["loss_rtol"])
    for parameter, value in step.student.named_parameters():
        assert value.grad is not None
        close(value.grad, f"grad/student/{parameter}", tolerance["grad_atol"], tolerance["grad_rtol"])
    for buffer, value in step.student.named_buffers():
        close(value, f"bn/student/{buffer}", tolerance["bn_atol"])


@pytest.mark.parametrize("name", CASES)
def test_float32(name: str):
    case = META["cases"][name]
    gold = np.load(ROOT / case["file"])
    tolerance = case["tolerance"]["float32"]
    step = run(case, torch.float32)

    outside = np.abs(step.x_adv.numpy() - gold["x_adv"]) > tolerance["x_adv_atol"]
    assert outside.mean() <= tolerance["x_adv_max_fraction_outside"]
    np.testing.assert_allclose(step.loss.reshape(1), gold["loss"], rtol=tolerance["loss_rtol"])
    ours, theirs = (
        np.concatenate([np.ravel(part) for part in parts])
        for parts in zip(
            *(
                (value.grad.numpy(), gold[f"grad/student/{parameter}"])
                for parameter, value in step.student.named_parameters()
                if value.grad is not None
            ),
            strict=True,
        )
    )
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) <= tolerance["grad_relative_norm"]
    for buffer, value in step.student.named_buffers():
        np.testing.assert_allclose(value, gold[f"bn/student/{buffer}"], atol=tolerance["bn_atol"])


@pytest.mark.parametrize("name", CASES)
def test_the_teacher_stays_as_it_was(name: str):
    case = META["cases"][name]
    step = run(case, torch.float64)
    fresh = network("teacher", case, torch.float64)
    for ours, original in zip(step.teacher.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(ours, original)
    assert all(parameter.grad is None for parameter in step.teacher.parameters())
