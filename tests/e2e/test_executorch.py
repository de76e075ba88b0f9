"""A recipe for ExecuTorch, and somebody else's `.pte`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edgeproof.targets.base import targets

from .conftest import edgeproof, small_build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = targets["executorch"].available()
    if not state.available:
        pytest.skip(state.reason)
    out = tmp_path_factory.mktemp("executorch") / "digits"
    shutil.copytree(run, out)
    done = edgeproof(*small_build(out, "--set", "targets=[executorch]"))
    assert done.code == 0, done.err
    return out


def test_the_engine_is_built_attacked_and_timed(built: Path):
    report = json.loads((built / "report.json").read_text())
    found = report["subjects"][-1]
    assert (found["name"], found["precision"]) == ("executorch", "int8")
    assert found["twin_agreement"]["adversarial"] >= 0.98
    assert found["latency_ms"]["p50"] > 0
    assert json.loads((built / "engines" / "executorch" / "delegation.json").read_text())["share"] == 1.0


def test_a_pte_is_verified_with_the_graph_of_its_twin(built: Path, tmp_path: Path):
    engine = built / "engines" / "executorch" / "model.pte"
    graph = next(built.glob("quantize/*/model.onnx"))
    arguments = ["--dataset", "digits", "--eps", "0.1", "--samples", "12", "--target", "executorch", "--workers", "1"]
    alone = edgeproof("verify", engine, *arguments, "--out", tmp_path / "alone")
    assert alone.code == 2
    assert "--graph" in alone.err
    student = built / "export" / "model.onnx"
    done = edgeproof(
        "verify", engine, "--graph", graph, "--surrogate", student, *arguments, "--out", tmp_path / "proof", "--json"
    )
    assert done.code in (0, 4), done.err
    (found,) = json.loads(done.out)["subjects"]
    assert found["name"] == "executorch"
    assert "replay" in found["routes"]  # of what was found on the surrogate
