"""One recipe, several runtimes."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import onnx
import pytest
from edgeproof.pipeline.request.verification import check_request
from edgeproof.stages.data import DataConfig
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.targets.base import targets

from tests.e2e.conftest import FEW, NO_CURVE, QUICK, edgeproof, small_build

pytestmark = pytest.mark.slow

ALL = ("onnxruntime", "openvino", "executorch")


def sets(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(scope="module")
def built(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ALL:
        state = targets[name].available()
        if not state.available:
            pytest.skip(state.reason)
    out = tmp_path_factory.mktemp("all") / "digits"
    shutil.copytree(run, out)
    done = edgeproof(*small_build(out, *sets(f"targets=[{', '.join(ALL)}]", NO_CURVE)))
    assert done.code == 0, done.err
    return out


def test_every_target_is_built_attacked_and_timed(built: Path):
    report = json.loads((built / "report.json").read_text())
    assert [each["name"] for each in report["subjects"]] == ["teacher", "student", *ALL]
    assert all(each["latency_ms"]["p50"] > 0 and each["size_bytes"] > 0 for each in report["subjects"])
    for found in report["subjects"][3:]:
        assert list(found["routes"]) == ["replay", "whitebox", "probe", "square", "rounded"]
        assert found["precision"] == "int8"
        assert round((1 - found["twin_agreement"]["clean"]) * found["samples"]) <= 1  # one of a few may lie on a tie
        assert found["twin_agreement"]["adversarial"] >= 0.98
        assert {row["subject"] for row in found["bench"]["latency_ms"]} == {"engine", "float", "eager"}
        calibration = found["calibration"]
        assert calibration["samples"] == sum(calibration["images_per_class"].values())
        assert "index" not in calibration


def test_all_of_it_is_delegated_to_xnnpack(built: Path):
    assert json.loads((built / "engines" / "executorch" / "delegation.json").read_text())["share"] == 1.0


def test_each_gets_the_scheme_it_wants(built: Path):
    """OpenVINO takes float biases, ONNX Runtime int32 ones."""
    int32 = {}
    for name in ("onnxruntime", "openvino"):
        graph = onnx.load(built / "engines" / name / "model.onnx").graph
        int32[name] = any(tensor.data_type == onnx.TensorProto.INT32 for tensor in graph.initializer)
    assert int32 == {"onnxruntime": True, "openvino": False}
    lint = edgeproof("lint", built / "engines" / "openvino" / "model.onnx", "--target", "openvino")
    assert lint.code == 0, lint.out


def test_verify_and_bench_on_another_runtime(built: Path, tmp_path: Path):
    engine = built / "engines" / "openvino" / "model.onnx"
    arguments = ["--dataset", "digits", "--eps", "0.1", "--samples", "12", "--target", "openvino", "--workers", "1"]
    arguments += ["--option", "hint=throughput", *FEW]
    done = edgeproof("verify", engine, *arguments, "--out", tmp_path / "proof", "--json")
    assert done.code in (0, 4), done.err
    report = json.loads(done.out)
    found = report["subjects"][0]
    assert (found["name"], found["options"]) == ("openvino", {"hint": "throughput"})
    assert report["environment"]["openvino"] == version("openvino")
    others = ["--against", f"onnxruntime[optimisation=none]:{engine}", "--plot", tmp_path / "plot.png"]
    timed = edgeproof("bench", engine, "--target", "openvino", *others, "--repeats", "20", "--json")
    assert timed.code == 0, timed.err
    first, second = json.loads(timed.out)["engines"]
    assert (first["target"], first["options"]) == ("openvino", {})
    assert (second["target"], second["options"]) == ("onnxruntime", {"optimisation": "none"})
    assert first["memory_bytes"]["peak"] > first["memory_bytes"]["before"] > 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_pte_is_verified_with_the_graph_of_its_twin(built: Path, tmp_path: Path):
    engine = built / "engines" / "executorch" / "model.pte"
    graph = built / "quantize" / targets["executorch"].scheme.name / "model.onnx"
    arguments = ["--dataset", "digits", "--eps", "0.1", "--samples", "4", "--target", "executorch", "--workers", "1"]
    alone = edgeproof("verify", engine, *arguments, "--out", tmp_path / "alone")
    assert alone.code == 2
    assert "--graph" in alone.err
    done = edgeproof("verify", engine, "--graph", graph, *arguments, *FEW, "--out", tmp_path / "proof", "--json")
    assert done.code in (0, 4), done.err
    (found,) = json.loads(done.out)["subjects"]
    assert found["name"] == "executorch"


def test_its_surrogate_runs_on_a_runtime_that_reads_onnx_files(built: Path, tmp_path: Path):
    request = check_request(
        str(built / "engines" / "executorch" / "model.pte"),
        DataConfig(dataset="digits"),
        ThreatModel(eps=0.1),
        VerifyConfig(samples=4),
        target="executorch",
        scratch=tmp_path,
        graph=built / "quantize" / targets["executorch"].scheme.name / "model.onnx",
        surrogate=built / "export" / "model.onnx",
    )
    runtimes = {name: subject.engine.target for name, subject in request.subjects.items()}
    assert runtimes == {"surrogate": "onnxruntime", "executorch": "executorch"}


def test_a_target_that_only_builds_leaves_its_engine_and_the_verdict_open(run: Path, tmp_path: Path):
    state = targets["tensorrt_rtx"].available()
    if state.available or not state.builds:
        pytest.skip(state.reason or "it runs here")
    out = tmp_path / "digits"
    shutil.copytree(run, out)
    done = edgeproof(*small_build(out, *sets("targets=[onnxruntime, tensorrt_rtx]", *QUICK, NO_CURVE)))
    assert done.code == 4, done.err
    report = json.loads((out / "report.json").read_text())
    assert [each["name"] for each in report["subjects"]] == ["teacher", "student", "onnxruntime"]
    assert "target 'tensorrt_rtx' is built and not attacked: " in done.out
    plan = out / "engines" / "tensorrt_rtx" / "model.plan"
    assert plan.stat().st_size > 10_000
    assert json.loads(plan.with_name("model.plan.json").read_text())
    loaded = edgeproof("verify", plan, "--graph", out / "export" / "model.onnx", "--target", "tensorrt_rtx",
                       "--dataset", "digits", "--eps", "0.1")  # fmt: skip
    assert loaded.code == 4
    assert "finds no NVIDIA GPU" in loaded.err
