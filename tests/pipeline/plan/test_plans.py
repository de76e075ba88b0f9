"""Dry runs: what is there and what is not, and that nothing is written."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from edgeproof.pipeline.commands.build import build
from edgeproof.pipeline.commands.verify import verify
from edgeproof.pipeline.plan.build_plan import plan_build
from edgeproof.pipeline.plan.looking_store import NotMadeError, planned
from edgeproof.pipeline.plan.verify_plan import plan_verification

from tests.conftest import DATA

DIGITS = Path(__file__).parents[3] / "examples" / "digits.yaml"
QUICK = ("verify.routes=[square]", "verify.square_queries=5", "verify.isolate=false", "verify.samples=8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEPROOF_STORE", raising=False)
    monkeypatch.setattr("edgeproof.stages.verify.cost.measured._SECONDS", 0.05)


def states(plan: dict) -> dict[str, str]:
    return {each["stage"]: each["state"] for each in plan["stages"]}


def test_a_verification_before_and_after_it_was_run(int8_onnx: Path, tmp_path: Path):
    asked = {"dataset": "digits", "eps": 0.1, "overrides": QUICK, "curve": False, "workers": 1, "out": tmp_path / "run"}
    plan = plan_verification(int8_onnx, **asked)
    assert list(tmp_path.iterdir()) == []
    assert states(plan) == {
        "clean/onnxruntime": "to do",
        "attack/onnxruntime": "to do",
        "settle": "after attack/onnxruntime",
    }
    assert plan["data"]["attacked"] == 8
    assert plan["data"]["image_shape"] == [1, 8, 8]
    assert plan["twin"]["problem"] is None
    assert plan["twin"]["operators"]["Conv"] == 3
    assert plan["cost"]["per_sample"] == {"gradients": 0, "answers": 5}
    assert plan["cost"]["seconds"] > 0

    verify(int8_onnx, **asked)
    before = sorted(tmp_path.rglob("*"))
    plan = plan_verification(int8_onnx, **asked)
    assert set(states(plan).values()) == {"cached"}
    assert plan["cost"] is None
    assert "to do" in states(plan_verification(int8_onnx, **{**asked, "eps": 0.2})).values()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_build_whose_teacher_is_there(tmp_path: Path):
    overrides = (
        "teacher.train=null",
        f"teacher.checkpoint={DATA / 'student.safetensors'}",
        "teacher.model=cnn8_small",
        "distill.epochs=7",
        "distill.inner={steps: 1}",
        "distill.selection_steps=1",
        *QUICK,
    )
    asked = {"overrides": overrides, "out": tmp_path / "run", "workers": 1}
    assert states(plan_build(DIGITS, **asked))["teacher"] == "to do"
    assert list(tmp_path.iterdir()) == []
    build(DIGITS, until="teacher", **asked)
    before = sorted(tmp_path.rglob("*"))
    plan = plan_build(DIGITS, **asked)
    assert states(plan) | {"teacher": "cached", "student": "to do", "export": "after student"} == states(plan)
    (student,) = (each for each in plan["stages"] if each["stage"] == "student")
    assert student["seconds"] > 0
    assert student["basis"] == "7 epochs of 9 steps; 3 were measured"
    assert plan["calibration"] == 256
    assert plan["networks"]["student"].startswith("cnn8_small, ")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_first_that_asks_for_a_stage_is_the_stage():
    def lacking(name: str):
        def ask() -> None:
            raise NotMadeError(name)

        return ask

    steps = [("a", lambda: None), ("b", lacking("b")), ("c", lacking("b")), ("d", lacking("d"))]
    assert [each.state for each in planned(iter(steps))] == ["cached", "to do", "after b", "to do"]


def test_a_plan_is_asked_as_what_it_plans():
    """The command line hands both the same arguments."""
    asked, planned = (set(inspect.signature(each).parameters) for each in (verify, plan_verification))
    assert asked - planned == {"images", "labels", "class_names", "reporter"}
    asked, planned = (set(inspect.signature(each).parameters) for each in (build, plan_build))
    assert asked - planned == {"until", "reporter"}
    assert not planned - asked
