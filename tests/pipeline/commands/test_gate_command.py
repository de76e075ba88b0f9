"""`edgeproof gate` as a function: which gates are judged, and when a run becomes the baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.gate import DEFAULT, gate

from tests.finished_run import bits, finished

LOOSE = [{"name": "clean_accuracy", "limit": ">= 0.5"}]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished(tmp_path / "run", gates=LOOSE)


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return finished(tmp_path / "worse", {"onnxruntime": bits(200, range(30))}, gates=LOOSE)


@pytest.fixture
def baseline(run: Path, tmp_path: Path) -> Path:
    assert gate(run, baseline=tmp_path / "base.json", update_baseline=True).written
    return tmp_path / "base.json"


def names(found: dict[str, object]) -> list[str]:
    gates = found["gates"]
    assert isinstance(gates, list)
    return [f"{each['name']} {each['limit']}" for each in gates]


def test_a_baseline_alone_brings_the_usual_gates(worse: Path, baseline: Path):
    report = gate(worse, baseline=baseline).report
    assert names(dict(report.data)) == ["clean_accuracy >= 0.5", *DEFAULT]
    assert (report.exit_code, report.data["verdict"]) == (1, "fail")
    assert report.data["baseline"]["path"] == str(baseline)
    report = gate(worse, baseline=baseline, require=["clean_accuracy >= 0.9"]).report
    assert (names(dict(report.data)), report.exit_code) == (["clean_accuracy >= 0.9"], 0)


def test_gates_of_the_recipe_may_be_relative(worse: Path, baseline: Path, tmp_path: Path):
    gates = [{"name": "robust_accuracy", "limit": ">= baseline - 0.05"}]
    mine = finished(tmp_path / "mine", {"onnxruntime": bits(200, range(30))}, gates=gates)
    assert gate(mine, baseline=baseline).report.exit_code == 1
    with pytest.raises(
        UsageError, match=r"robust_accuracy >= baseline - 0\.05: name the baseline with --baseline FILE"
    ):
        gate(mine)


def test_a_run_becomes_the_baseline_only_when_asked(worse: Path, baseline: Path):
    before = baseline.read_bytes()
    assert gate(worse, baseline=baseline).report.exit_code == 1
    assert baseline.read_bytes() == before
    accepted = gate(worse, baseline=baseline, update_baseline=True)
    assert (accepted.written, accepted.report.exit_code) == (baseline, 0), "a loss that is accepted"
    assert gate(worse, baseline=baseline).report.exit_code == 0


@pytest.mark.parametrize(
    ("report", "require", "code", "why"),
    [
        ({"doubts": ["onnxruntime: huge-eps"]}, ["clean_accuracy >= 0.5"], 4, "onnxruntime: huge-eps"),
        ({"missing": ["target 'openvino' is missing"]}, ["clean_accuracy >= 0.5"], 4, "'openvino' is missing"),
        ({}, ["clean_accuracy > 1"], 1, "1.0000 misses > 1"),
    ],
)
def test_what_does_not_pass_by_itself_is_no_baseline_unless_forced(
    report: dict[str, object], require: list[str], code: int, why: str, tmp_path: Path
):
    doubtful = finished(tmp_path / "doubtful", **report)
    path = tmp_path / "base.json"
    refused = gate(doubtful, require=require, baseline=path, update_baseline=True)
    assert (refused.written, refused.report.exit_code, path.exists()) == (None, code, False)
    assert why in refused.refused
    assert "--force writes it all the same" in refused.refused
    forced = gate(doubtful, require=require, baseline=path, update_baseline=True, force=True)
    assert (forced.written, forced.report.exit_code) == (path, code)
    assert json.loads(path.read_text())["verdict"] == ("fail" if code == 1 else "inconclusive")
    notes = gate(doubtful, require=DEFAULT, baseline=path).report.data["baseline"]["notes"]
    assert any("the baseline's own verdict was" in note for note in notes)


def test_doubts_of_the_run_stay(baseline: Path, tmp_path: Path):
    doubtful = finished(tmp_path / "doubtful", doubts=["onnxruntime: huge-eps"])
    assert gate(doubtful, baseline=baseline).report.exit_code == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"update_baseline": True}, "--update-baseline: name the file with --baseline FILE"),
        ({"force": True}, "--force: goes with --update-baseline"),
        ({"require": ["retension >= 1"]}, "unknown figure 'retension'; did you mean 'retention'?"),
        ({"baseline": "none.json"}, "--baseline none.json: no such file; --update-baseline makes it"),
    ],
)
def test_options_that_are_wrong(more: dict[str, object], words: str, run: Path):
    with pytest.raises(UsageError) as caught:
        gate(run, **more)  # pyright: ignore[reportArgumentType]
    assert words in str(caught.value)


def test_a_run_without_gates_needs_some(tmp_path: Path):
    bare = finished(tmp_path / "bare")
    with pytest.raises(UsageError, match="has no gates; give some with --require, or a baseline with --baseline"):
        gate(bare)
    odd = finished(tmp_path / "odd", gates=[{"figure": "retention"}])
    with pytest.raises(UsageError, match="its gates are not a report's"):
        gate(odd)
