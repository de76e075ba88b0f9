"""`edgeproof teachers` as a user runs it, and teachers that a build refuses before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, edgeproof
from tests.e2e.test_commands import one_line

DIGITS = ROOT / "examples" / "digits.yaml"
STUDENT = ROOT / "tests" / "data" / "student.safetensors"

MINE = f"""
from pathlib import Path
from edgeproof.stages.checkpoint import read_weights
from edgeproof.stages.models import build_model

def trained(shape, classes):
    model = build_model("cnn8_small", shape, classes, seed=0)
    model.load_state_dict(read_weights(Path({str(STUDENT)!r}))[0])
    return model

def failing(shape, classes):
    raise RuntimeError("no weights\\nto be found")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def settings(*overrides: str) -> list[str]:
    return [part for override in ("teacher.train=null", *overrides) for part in ("--set", override)]


def test_one_json_document_and_nothing_else(folder: Path):
    done = edgeproof(
        "teachers",
        STUDENT,
        "mine:trained",
        "--dataset",
        "digits",
        "--eps",
        "0.1",
        "--samples",
        "40",
        "--json",
        cwd=folder,
    )
    assert done.code == 0, done.err
    assert done.err == ""
    result = json.loads(done.out)
    assert {entry["candidate"] for entry in result["candidates"]} == {str(STUDENT), "mine:trained"}
    assert result["threat_model"] == {"norm": "Linf", "eps": 0.1}


def test_a_mistake_is_one_line(folder: Path):
    done = edgeproof("teachers", "none.pt", "--dataset", "digits", "--eps", "0.1", cwd=folder)
    one_line(done, 2, "none.pt: no such file")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((f"teacher.checkpoint={STUDENT}", "teacher.model=null", f"teacher.sha256={'a' * 64}"), "it was not loaded"),
        (("teacher.pretrained=true", "teacher.model=mine:failing"), "= ((1, 8, 8), 10): RuntimeError: no weights"),
        (("teacher.model=wrn_12_1",), "a depth is 6n + 4"),
    ],
)
def test_teachers_that_a_build_refuses_before_it_writes(folder: Path, overrides: tuple[str, ...], words: str):
    done = edgeproof("build", DIGITS, "--out", folder / "run", *settings(*overrides), cwd=folder)
    one_line(done, 2, words)
    assert not (folder / "run").exists()


def test_a_function_that_brings_its_weights_is_a_teacher(folder: Path):
    overrides = settings("teacher.pretrained=true", "teacher.model=mine:trained")
    done = edgeproof("teacher", DIGITS, "--out", folder / "run", *overrides, cwd=folder)
    assert done.code == 0, done.err
    assert (folder / "run" / "teacher" / "model.safetensors").is_file()
    assert not (folder / "run" / "teacher" / "training.json").exists()
